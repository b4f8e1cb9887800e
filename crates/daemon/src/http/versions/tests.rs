//! The differences at the versions that clients in use speak, beside the newest.

use serde_json::{Value, json};

use super::super::routes::ROUTES;
use super::*;

fn route(name: &str) -> &'static Route {
    let (method, pattern) = name.split_once(' ').unwrap();
    ROUTES.iter().find(|route| route.method == method && route.pattern == pattern).unwrap()
}

/// What the handler sees of a request.
fn request(name: &str, minor: u32, mut body: Value) -> Result<Value> {
    bend_request(route(name), Version::v1(minor), &mut body).map(|()| body)
}

/// What the client sees of an answer.
fn answer(name: &str, minor: u32, body: &Value) -> Value {
    bend_answer(route(name), Version::v1(minor), body).unwrap_or_else(|| body.clone())
}

fn query(name: &str, minor: u32, text: &str) -> Query {
    let mut query = Query::parse(text);
    bend_query(route(name), Version::v1(minor), &mut query);
    query
}

#[test]
fn every_change_names_a_route() {
    for change in CHANGES {
        route(change.route);
    }
}

#[test]
fn create_at_1_51_passes_as_it_is() {
    let body = json!({"Image": "a", "HostConfig": {"Annotations": {"a": "b"}, "ConsoleSize": [1, 2]}});
    assert_eq!(request(CREATE, 51, body.clone()).unwrap(), body);
}

#[test]
fn create_at_1_41_loses_what_came_later() {
    let body = json!({
        "Image": "a",
        "Healthcheck": {"StartInterval": 1, "Retries": 2},
        "HostConfig": {
            "Annotations": {"a": "b"},
            "ConsoleSize": [1, 2],
            "KernelMemory": 5,
            "Mounts": [{"Type": "bind", "ReadOnly": true, "BindOptions": {"CreateMountpoint": true}, "VolumeOptions": {}}]
        },
        "NetworkingConfig": {"EndpointsConfig": {"n": {"GwPriority": 3, "MacAddress": "02:00:00:00:00:01"}}}
    });
    insta::assert_json_snapshot!(request(CREATE, 41, body).unwrap(), @r#"
    {
      "Healthcheck": {
        "Retries": 2
      },
      "HostConfig": {
        "KernelMemory": 5,
        "Mounts": [
          {
            "BindOptions": {},
            "ReadOnly": true,
            "Type": "bind"
          }
        ]
      },
      "Image": "a",
      "NetworkingConfig": {
        "EndpointsConfig": {
          "n": {}
        }
      }
    }
    "#);
}

#[test]
fn create_at_1_24_keeps_its_old_defaults() {
    let bent = request(CREATE, 24, json!({"HostConfig": {"AutoRemove": true}})).unwrap();
    assert_eq!(bent, json!({"HostConfig": {"IpcMode": "shareable", "CgroupnsMode": "host"}}));
}

#[test]
fn create_refuses_what_the_version_does_not_have() {
    let message = |minor, body| request(CREATE, minor, body).unwrap_err().to_string();
    let mount = |mount: Value| json!({"HostConfig": {"Mounts": [mount]}});
    assert_eq!(
        message(51, mount(json!({"Type": "bind", "TmpfsOptions": {}}))),
        "TmpfsOptions must not be specified on mount type \"bind\""
    );
    assert_eq!(
        message(44, mount(json!({"Type": "volume", "VolumeOptions": {"Subpath": "x"}}))),
        "VolumeOptions.Subpath needs API v1.45 or newer"
    );
    assert_eq!(message(47, mount(json!({"Type": "image"}))), "Mount type \"Image\" needs API v1.48 or newer");
    assert_eq!(
        message(43, json!({"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}})),
        "Container cannot be created with multiple network endpoints: a, b"
    );
}

#[test]
fn a_mac_address_moves_to_its_endpoint() {
    let bent =
        request(CREATE, 43, json!({"MacAddress": "02:00:00:00:00:07", "NetworkingConfig": null})).unwrap();
    assert_eq!(bent["NetworkingConfig"]["EndpointsConfig"]["default"]["MacAddress"], "02:00:00:00:00:07");
    assert!(bent.get("MacAddress").is_none());
    let host = json!({"MacAddress": "02:00:00:00:00:07", "HostConfig": {"NetworkMode": "host"}});
    assert!(request(CREATE, 43, host).is_err());
}

#[test]
fn image_lists_show_what_they_showed() {
    let images = json!([{"Size": 5, "RepoTags": [], "RepoDigests": [], "Containers": 2}]);
    assert_eq!(answer(IMAGES, 51, &images), images);
    assert_eq!(
        answer(IMAGES, 41, &images),
        json!([{"Size": 5, "VirtualSize": 5, "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"], "Containers": -1}])
    );
}

#[test]
fn image_inspect_shows_a_containers_fields_until_1_49() {
    let image = json!({"Size": 5, "Config": {"Env": null}});
    let bent = answer(IMAGE, 41, &image);
    assert_eq!((&bent["VirtualSize"], &bent["Config"]["Tty"]), (&json!(5), &json!(false)));
    assert_eq!(bent["ContainerConfig"]["Image"], "");
    assert_eq!(bent["Created"], "0001-01-01T00:00:00Z");
    assert_eq!(answer(IMAGE, 50, &image), image);
}

#[test]
fn info_has_its_old_fields() {
    let info = json!({"RuncCommit": {"ID": "x"}, "SecurityOptions": ["name=seccomp,profile=builtin"]});
    let bent = answer(INFO, 41, &info);
    assert_eq!(bent["RuncCommit"]["Expected"], "x");
    assert_eq!(bent["BridgeNfIptables"], false);
    assert_eq!(bent["SecurityOptions"][0], "name=seccomp,profile=builtin");
    assert_eq!(answer(INFO, 24, &info)["SecurityOptions"][0], "seccomp");
}

#[test]
fn networks_of_ones_own_alias_the_short_id() {
    let container = json!({
        "Id": "0123456789abcdef", "Config": {"Hostname": "web"},
        "NetworkSettings": {"Networks": {"bridge": {"Aliases": null}, "mine": {"Aliases": ["web"]}}}
    });
    let bent = answer("GET /containers/{}/json", 41, &container);
    assert_eq!(bent["NetworkSettings"]["Networks"]["mine"]["Aliases"], json!(["web", "0123456789ab"]));
    assert_eq!(bent["NetworkSettings"]["Networks"]["bridge"]["Aliases"], Value::Null);
}

#[test]
fn queries_lose_what_came_later() {
    assert!(query("POST /containers/{}/stop", 42, "signal=HUP").has("signal"));
    assert!(!query("POST /containers/{}/stop", 41, "signal=HUP").has("signal"));
    assert!(query(IMAGES, 40, "filter=busy*").filters().unwrap().contains("reference"));
    assert!(query("POST /volumes/prune", 41, "").filters().unwrap().contains("all"));
    assert!(!query("POST /volumes/prune", 42, "").filters().unwrap().contains("all"));
}

#[test]
fn image_create_events_are_left_out_of_old_streams() {
    let event = json!({"Type": "image", "Action": "create"});
    assert_eq!(answer("GET /events", 45, &event), Value::Null);
    assert_eq!(answer("GET /events", 46, &event), event);
}
