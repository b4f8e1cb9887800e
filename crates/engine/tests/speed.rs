//! How long a whole life takes, printed for people; the budgets are the benchmark's.

mod house;

use api::container::{Remove, WaitCondition};
use engine::container;
use house::in_house;

#[test]
fn a_hundred_lives_leave_nothing() {
    in_house(async |house| {
        for json in [r#"{"Cmd":["true"]}"#, r#"{"Cmd":["true"],"HostConfig":{"AutoRemove":true}}"#] {
            let started = std::time::Instant::now();
            for _ in 0..50 {
                let id = house.create(json).await;
                let ended = container::wait(&house.engine, &id, WaitCondition::NextExit).unwrap();
                house.start(&id).await;
                assert_eq!(ended.await.status_code, 0);
                let gone = container::wait(&house.engine, &id, WaitCondition::Removed);
                if json.contains("AutoRemove") {
                    if let Ok(gone) = gone {
                        gone.await;
                    }
                } else {
                    container::remove(&house.engine, &id, Remove::default()).await.unwrap();
                }
            }
            println!("{json}: {:?} each", started.elapsed() / 50);
        }
        house
    });
}
