//! What is told of what happens.

use api::container::WaitCondition;
use api::events::{Message, Options, Type};
use api::filters::Filters;
use engine::{container, events};
use futures_util::StreamExt;

use crate::house::House;
use crate::in_house;

impl House {
    /// The events of the past, as `type action name`.
    pub(crate) async fn past(&self, filters: &str) -> Vec<String> {
        let now = sys::time::Timestamp::now();
        let options = Options {
            since: Some(0),
            until: Some(now.seconds * 1_000_000_000 + i64::from(now.nanoseconds)),
            filters: Filters::parse(filters).unwrap(),
        };
        events::subscribe(&self.engine, options).unwrap().map(|event| line(&event)).collect().await
    }
}

fn line(event: &Message) -> String {
    let name = event.actor.attributes.get("name").unwrap_or(&event.actor.id);
    format!("{} {} {name}", event.kind.as_str(), event.action)
}

#[test]
fn a_run_is_told_step_by_step() {
    in_house(async |house| {
        let id = house.try_create(Some("web"), r#"{"Cmd":["true"],"Labels":{"a":"b"}}"#).await.unwrap();
        house.run(&id).await;
        let expected = ["create", "attach", "start", "die"].map(|action| format!("container {action} web"));
        assert_eq!(house.past(r#"{"type":["container"]}"#).await, expected);
        assert_eq!(house.past(r#"{"label":["a=b"],"event":["die"]}"#).await, ["container die web"]);
        assert_eq!(house.past(r#"{"type":["image"]}"#).await, Vec::<String>::new());
        let refused = Options { filters: Filters::parse(r#"{"nope":["x"]}"#).unwrap(), ..Options::default() };
        assert!(events::subscribe(&house.engine, refused).is_err());
    });
}

#[test]
fn what_a_run_borrows_is_told_around_it() {
    in_house(async |house| {
        let json = r#"{"Cmd":["true"],"HostConfig":{"NetworkMode":"bridge","Binds":["data:/v:ro"],"AutoRemove":true}}"#;
        let id = house.try_create(Some("web"), json).await.unwrap();
        house.run(&id).await;
        if let Ok(removed) = container::wait(&house.engine, &id, WaitCondition::Removed) {
            removed.await;
        }
        let expected = [
            "volume create data",
            "container create web",
            "container attach web",
            "volume mount data",
            "network connect bridge",
            "container start web",
            "network disconnect bridge",
            "volume unmount data",
            "container die web",
            "container destroy web",
        ];
        assert_eq!(house.past("").await, expected);
        let options = Options { since: Some(0), until: Some(i64::MAX), filters: Filters::default() };
        let all = events::subscribe(&house.engine, options).unwrap().take(expected.len());
        let attributes: Vec<_> = all
            .filter(|event| std::future::ready(event.kind != Type::Container))
            .map(|event| format!("{} {:?}", event.action, event.actor.attributes).replace(&id, "ID"))
            .collect()
            .await;
        insta::assert_snapshot!(attributes.join("\n"), @r#"
        create {"driver": "local"}
        mount {"container": "ID", "destination": "/v", "driver": "local", "propagation": "", "read/write": "false"}
        connect {"container": "ID", "name": "bridge", "type": "bridge"}
        disconnect {"container": "ID", "name": "bridge", "type": "bridge"}
        unmount {"container": "ID", "driver": "local"}
        "#);
    });
}

#[test]
fn the_end_of_the_engine_ends_the_stream() {
    in_house(async |house| {
        let live = events::subscribe(&house.engine, Options::default()).unwrap();
        let engine = house.engine.clone();
        let mut watching = tokio::task::JoinSet::new();
        watching.spawn(live.count());
        house.create(r#"{"Cmd":["true"]}"#).await;
        let ids: Vec<_> =
            engine.containers().all().iter().map(|container| container.id.to_string()).collect();
        for id in ids {
            container::remove(&engine, &id, api::container::Remove::default()).await.unwrap();
        }
        engine.shutdown().await;
        assert_eq!(watching.join_next().await.unwrap().unwrap(), 2);
    });
}
