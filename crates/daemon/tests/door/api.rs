//! The door of a real daemon, spoken to with raw bytes over its unix socket.

use crate::common::{self, Daemon};

#[test]
fn ping_says_ok_and_who_we_are() {
    let daemon = Daemon::start();
    insta::assert_snapshot!(daemon.ask("GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"), @"
    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    cache-control: no-cache, no-store, must-revalidate
    pragma: no-cache
    swarm: inactive
    api-version: 1.51
    docker-experimental: false
    ostype: linux
    server: Kogge/0.1.0 (linux)
    connection: close
    content-length: 2

    OK
    ");
    insta::assert_snapshot!(daemon.ask("HEAD /v1.41/_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"), @"
    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    cache-control: no-cache, no-store, must-revalidate
    pragma: no-cache
    swarm: inactive
    content-length: 0
    api-version: 1.51
    docker-experimental: false
    ostype: linux
    server: Kogge/0.1.0 (linux)
    connection: close
    ");
}

#[test]
fn versions_out_of_range_are_refused_in_dockers_words() {
    let daemon = Daemon::start();
    let cases = [
        "/v1.60/info",
        "/v1.52/info",
        "/v9.99/info",
        "/v1.23/info",
        "/v1.12/info",
        "/v0.1/info",
        "/v1.60/nowhere",
        "/nowhere",
        "/v2x/info",
    ];
    insta::assert_snapshot!(daemon.get_all(&cases), @r#"
    GET /v1.60/info: 400 {"message":"client version 1.60 is too new. Maximum supported API version is 1.51"}
    GET /v1.52/info: 400 {"message":"client version 1.52 is too new. Maximum supported API version is 1.51"}
    GET /v9.99/info: 400 {"message":"client version 9.99 is too new. Maximum supported API version is 1.51"}
    GET /v1.23/info: 400 client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version
    GET /v1.12/info: 400 client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version
    GET /v0.1/info: 400 client version 0.1 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version
    GET /v1.60/nowhere: 404 {"message":"page not found"}
    GET /nowhere: 404 {"message":"page not found"}
    GET /v2x/info: 404 {"message":"page not found"}
    "#);
}

#[test]
fn bad_bodies_are_refused_in_dockers_words() {
    let daemon = Daemon::start();
    let create =
        |kind: &str, body: &str| daemon.send("POST", "/containers/create", &[("Content-Type", kind)], body);
    let json = "application/json";
    let answers = [
        create("text/plain", "{}"),
        create("", "{}"),
        create(json, ""),
        create(json, "{invalid"),
        create(json, r#"{"Image":"a"} trailing"#),
        create(json, "{}"),
        create(json, r#"{"Image":5}"#),
        daemon.send("POST", "/containers/x/start", &[], "{\"HostConfig\":{}}"),
        daemon.send("POST", "/containers/x/exec", &[("Content-Type", json)], "{}"),
    ];
    insta::assert_snapshot!(answers.join("\n"), @r#"
    400 {"message":"unsupported Content-Type header (text/plain): must be 'application/json'"}
    400 {"message":"malformed Content-Type header (): mime: no media type"}
    400 {"message":"invalid JSON: got EOF while reading request body"}
    400 {"message":"invalid JSON: invalid character 'i' looking for beginning of object key string"}
    400 {"message":"unexpected content after JSON"}
    400 {"message":"config cannot be empty in order to create a container"}
    400 {"message":"invalid JSON: Image: invalid type: integer `5`, expected a string"}
    400 {"message":"starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"}
    400 {"message":"No exec command specified"}
    "#);
}

#[test]
fn what_is_too_large_or_no_http_is_refused_and_the_daemon_goes_on() {
    let daemon = Daemon::start();
    let json = [("Content-Type", "application/json")];
    let long = format!(r#"{{"Image":"a","Env":["{}"]}}"#, "x".repeat(5 << 20));
    let deep = format!(r#"{{"Image":{}5{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let create = |body: &str| daemon.send("POST", "/containers/create", &json, body);
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let raw = |head: String| daemon.ask(&head).lines().next().unwrap_or_default().to_owned();
    let answers = [
        create(&long),
        create(&deep),
        raw(format!("GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{many}\r\n")),
        raw(format!(
            "GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\nX: {}\r\n\r\n",
            "y".repeat(1 << 20)
        )),
        raw(format!("GET /{} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", "y".repeat(70_000))),
        raw("no http\r\n\r\n".into()),
        raw("POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\nConnection: close\r\n\r\n"
            .into()),
        daemon.send("GET", "/_ping", &[], ""),
    ];
    insta::assert_snapshot!(answers.join("\n"), @r#"
    400 {"message":"the request's body is longer than 4 MiB"}
    400 {"message":"invalid JSON: recursion limit exceeded at line 1 column 136"}
    HTTP/1.1 431 Request Header Fields Too Large
    HTTP/1.1 431 Request Header Fields Too Large
    HTTP/1.1 414 URI Too Long
    HTTP/1.1 400 Bad Request
    HTTP/1.1 400 Bad Request
    200 OK
    "#);
}

#[test]
fn bad_queries_are_refused_in_dockers_words() {
    let daemon = Daemon::start();
    insta::assert_snapshot!(
        daemon.get_all(&[
            "/containers/json?limit=ten",
            "/containers/json?filters=[]",
            "/containers/x/logs",
            "/containers/x/archive",
            "/events?since=9&until=5",
            "/system/df?type=cake",
            "/containers/json?filters=x",
            "/containers/json?filters=%7B%22colour%22:%5B%22red%22%5D%7D",
            "/images/json?filters=%7B%22dangling%22:%5B%22maybe%22%5D%7D",
            "/volumes?filters=%7B%22colour%22:%5B%22red%22%5D%7D",
            "/networks?filters=%7B%22colour%22:%5B%22red%22%5D%7D",
            "/plugins?filters=%7B%22colour%22:%5B%22red%22%5D%7D",
            "/events?filters=%7B%22type%22:5%7D",
            "/events?since=yesterday",
            "/networks/bridge?scope=swarm",
        ]), @r#"
    GET /containers/json?limit=ten: 400 {"message":"strconv.Atoi: parsing \"ten\": invalid syntax"}
    GET /containers/json?filters=[]: 400 {"message":"invalid filter"}
    GET /containers/x/logs: 400 {"message":"Bad parameters: you must choose at least one stream"}
    GET /containers/x/archive: 400 {"message":"bad parameter: pathcannot be empty"}
    GET /events?since=9&until=5: 400 {"message":"`since` time (9) cannot be after `until` time (5)"}
    GET /system/df?type=cake: 400 {"message":"unknown object type: cake"}
    GET /containers/json?filters=x: 400 {"message":"invalid filter"}
    GET /containers/json?filters=%7B%22colour%22:%5B%22red%22%5D%7D: 400 {"message":"invalid filter 'colour'"}
    GET /images/json?filters=%7B%22dangling%22:%5B%22maybe%22%5D%7D: 400 {"message":"invalid filter 'dangling=[maybe]'"}
    GET /volumes?filters=%7B%22colour%22:%5B%22red%22%5D%7D: 400 {"message":"invalid filter 'colour'"}
    GET /networks?filters=%7B%22colour%22:%5B%22red%22%5D%7D: 400 {"message":"invalid filter 'colour'"}
    GET /plugins?filters=%7B%22colour%22:%5B%22red%22%5D%7D: 400 {"message":"invalid filter 'colour'"}
    GET /events?filters=%7B%22type%22:5%7D: 400 {"message":"invalid filter"}
    GET /events?since=yesterday: 400 {"message":"strconv.ParseInt: parsing \"yesterday\": invalid syntax"}
    GET /networks/bridge?scope=swarm: 404 {"message":"network bridge not found"}
    "#);
    assert_eq!(
        daemon.send("POST", "/containers/x/resize?h=a&w=1", &[], ""),
        r#"400 {"message":"invalid resize height \"a\": invalid syntax"}"#
    );
    assert_eq!(
        daemon.send("POST", "/containers/x/wait?condition=soon", &[], ""),
        r#"400 {"message":"invalid condition: \"soon\""}"#
    );
}

#[test]
fn platforms_are_objects_and_older_versions_do_not_know_them() {
    let daemon = Daemon::start();
    let s390x = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D";
    let answers = daemon.get_all(&[
        "/images/a/json?platform=linux",
        "/images/a/json?platform=%7B%22variant%22%3A%22v7%22%7D",
        &format!("/images/a/json?platform={s390x}"),
        &format!("/images/a/json?platform={s390x}&manifests=1"),
        &format!("/images/get?names=a&platform={s390x}&platform={s390x}"),
        "/images/a/history?platform=linux",
        "/v1.47/images/a/history?platform=linux",
        "/images/json?manifests=1",
        "/images/a/diff?with=b",
        "/distribution/UPPER/manifest",
    ]);
    insta::assert_snapshot!(answers, @r#"
    GET /images/a/json?platform=linux: 400 {"message":"failed to parse platform: invalid character 'l' looking for beginning of value"}
    GET /images/a/json?platform=%7B%22variant%22%3A%22v7%22%7D: 400 {"message":"optional platform components provided, but OS and Architecture are missing"}
    GET /images/a/json?platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D: 404 {"message":"No such image: a:latest"}
    GET /images/a/json?platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D&manifests=1: 400 {"message":"conflicting options: manifests and platform options cannot both be set"}
    GET /images/get?names=a&platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D&platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D: 404 {"message":"No such image: a"}
    GET /images/a/history?platform=linux: 400 {"message":"failed to parse platform: invalid character 'l' looking for beginning of value"}
    GET /v1.47/images/a/history?platform=linux: 404 {"message":"No such image: a:latest"}
    GET /images/json?manifests=1: 200 []
    GET /images/a/diff?with=b: 404 {"message":"No such image: a:latest"}
    GET /distribution/UPPER/manifest: 400 {"message":"invalid reference format: repository name (library/UPPER) must be lowercase"}
    "#);
}

#[test]
fn what_is_not_built_says_so() {
    let daemon = Daemon::start();
    let post = |path: &str| format!("POST {path}: {}", daemon.send("POST", path, &[], ""));
    let answers = [
        daemon.get_all(&["/swarm", "/services", "/nodes", "/plugins"]),
        post("/swarm/init"),
        post("/swarm/leave"),
        post("/networks/create"),
        post("/images/create?fromImage=UPPER"),
        post("/build"),
        post("/session"),
        post("/networks/prune"),
    ];
    insta::assert_snapshot!(answers.join("\n"), @r#"
    GET /swarm: 503 {"message":"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."}
    GET /services: 503 {"message":"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."}
    GET /nodes: 503 {"message":"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."}
    GET /plugins: 200 []
    POST /swarm/init: 501 {"message":"not supported: swarm mode"}
    POST /swarm/leave: 503 {"message":"This node is not part of a swarm"}
    POST /networks/create: 501 {"message":"not supported: creating networks"}
    POST /images/create?fromImage=UPPER: 400 {"message":"invalid reference format: repository name (library/UPPER) must be lowercase"}
    POST /build: 501 {"message":"not supported: building images"}
    POST /session: 501 {"message":"not supported: sessions of a builder"}
    POST /networks/prune: 200 {"NetworksDeleted":null}
    "#);
}

#[test]
fn one_connection_serves_many_requests() {
    let daemon = Daemon::start();
    let answers = daemon.ask(
        "GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
    );
    assert!(
        answers.starts_with("HTTP/1.1 200 OK") && answers.contains("HTTP/1.1 404 Not Found"),
        "{answers}"
    );
}

#[test]
fn a_refused_takeover_is_an_ordinary_answer_even_after_a_half_close() {
    let daemon = Daemon::start();
    for extra in ["", "Upgrade: tcp\r\nConnection: Upgrade\r\n"] {
        let answer = daemon.ask(&format!(
            "POST /containers/missing/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\n{extra}\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 404 Not Found"), "{answer}");
        assert!(answer.contains("No such container: missing"), "{answer}");
    }
}

#[test]
fn events_send_their_head_at_once_and_end_with_the_daemon() {
    let mut daemon = Daemon::start();
    let mut stream = daemon.open("GET /events HTTP/1.1\r\nHost: d\r\n\r\n");
    assert!(common::read_head(&mut stream).contains("content-type: application/json"));
    daemon.stop();
    common::read_rest(&mut stream);
}

#[test]
fn a_check_and_a_repair_of_the_store_are_answered() {
    let daemon = Daemon::start();
    insta::assert_snapshot!(daemon.get_all(&["/system/check", "/v1.24/system/check?repair=0", "/system/check?repair=1"]), @r#"
    GET /system/check: 200 {"Problems":[]}
    GET /v1.24/system/check?repair=0: 200 {"Problems":[]}
    GET /system/check?repair=1: 400 {"message":"a repair is asked for by POST"}
    "#);
    assert_eq!(daemon.send("POST", "/system/check", &[], ""), r#"200 {"Problems":[]}"#);
}

#[test]
fn what_cannot_be_adopted_or_pinned_is_told() {
    let daemon = Daemon::start();
    let send = |path: &str| daemon.send("POST", path, &[], "");
    assert_eq!(send("/images/x/pin"), r#"404 {"message":"No such image: x:latest"}"#);
    assert_eq!(
        send("/images/adopt?from=lxc"),
        r#"400 {"message":"images come from docker or podman, not from \"lxc\""}"#
    );
    assert_eq!(send("/images/adopt?path=here"), r#"400 {"message":"here is no absolute path"}"#);
    assert!(send("/images/adopt?path=/dev").contains("is neither Docker's data root"));
}

#[test]
fn options_are_answered() {
    let daemon = Daemon::start();
    assert_eq!(daemon.send("OPTIONS", "/anything", &[], ""), "200 ");
}
