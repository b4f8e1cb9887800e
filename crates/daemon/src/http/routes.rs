//! Every path that is answered. The first fit counts, so names that would swallow a literal stand below it.

use hyper::Method;

use super::request::Request;
use super::router::{Pending, Route};
use super::{absent, archive, containers, distribution, exec, images, networks, system, trust, volumes};

const fn route(method: Method, pattern: &'static str, handler: fn(Request) -> Pending) -> Route {
    Route { method, pattern, handler, hijacks: false }
}

const fn get(pattern: &'static str, handler: fn(Request) -> Pending) -> Route {
    route(Method::GET, pattern, handler)
}

const fn post(pattern: &'static str, handler: fn(Request) -> Pending) -> Route {
    route(Method::POST, pattern, handler)
}

const fn delete(pattern: &'static str, handler: fn(Request) -> Pending) -> Route {
    route(Method::DELETE, pattern, handler)
}

const fn hijack(pattern: &'static str, handler: fn(Request) -> Pending) -> Route {
    Route { method: Method::POST, pattern, handler, hijacks: true }
}

pub(crate) static ROUTES: &[Route] = &[
    // System
    route(Method::OPTIONS, "/{}", |request| Box::pin(system::options(request))),
    get("/_ping", |request| Box::pin(system::ping(request))),
    route(Method::HEAD, "/_ping", |request| Box::pin(system::ping(request))),
    get("/version", |request| Box::pin(system::version(request))),
    get("/info", |request| Box::pin(system::info(request))),
    get("/events", |request| Box::pin(system::events(request))),
    get("/system/df", |request| Box::pin(system::disk_usage(request))),
    get("/system/check", |request| Box::pin(system::check(request))),
    post("/system/check", |request| Box::pin(system::repair(request))),
    post("/auth", |request| Box::pin(distribution::login(request))),
    // Containers
    get("/containers/json", |request| Box::pin(containers::list(request))),
    post("/containers/create", |request| Box::pin(containers::create(request))),
    post("/containers/prune", |request| Box::pin(containers::prune(request))),
    get("/containers/{}/json", |request| Box::pin(containers::inspect(request))),
    get("/containers/{}/top", |request| Box::pin(containers::top(request))),
    get("/containers/{}/logs", |request| Box::pin(containers::logs(request))),
    get("/containers/{}/stats", |request| Box::pin(containers::stats(request))),
    get("/containers/{}/changes", |request| Box::pin(archive::changes(request))),
    get("/containers/{}/export", |request| Box::pin(archive::export(request))),
    get("/containers/{}/attach/ws", |_| absent::unsupported("attaching over a WebSocket")),
    route(Method::HEAD, "/containers/{}/archive", |request| Box::pin(archive::stat(request))),
    get("/containers/{}/archive", |request| Box::pin(archive::get(request))),
    route(Method::PUT, "/containers/{}/archive", |request| Box::pin(archive::put(request))),
    post("/containers/{}/start", |request| Box::pin(containers::start(request))),
    post("/containers/{}/stop", |request| Box::pin(containers::stop(request))),
    post("/containers/{}/restart", |request| Box::pin(containers::restart(request))),
    post("/containers/{}/kill", |request| Box::pin(containers::kill(request))),
    post("/containers/{}/pause", |request| Box::pin(containers::pause(request))),
    post("/containers/{}/unpause", |request| Box::pin(containers::unpause(request))),
    post("/containers/{}/wait", |request| Box::pin(containers::wait(request))),
    post("/containers/{}/resize", |request| Box::pin(containers::resize(request))),
    post("/containers/{}/rename", |request| Box::pin(containers::rename(request))),
    post("/containers/{}/update", |request| Box::pin(containers::update(request))),
    hijack("/containers/{}/attach", |request| Box::pin(containers::attach(request))),
    post("/containers/{}/exec", |request| Box::pin(exec::create(request))),
    delete("/containers/{}", |request| Box::pin(containers::remove(request))),
    post("/commit", |request| Box::pin(images::commit(request))),
    // Execs
    hijack("/exec/{}/start", |request| Box::pin(exec::start(request))),
    post("/exec/{}/resize", |request| Box::pin(exec::resize(request))),
    get("/exec/{}/json", |request| Box::pin(exec::inspect(request))),
    // Images
    get("/images/json", |request| Box::pin(images::list(request))),
    get("/images/search", |request| Box::pin(distribution::search(request))),
    get("/images/get", |request| Box::pin(images::save(request))),
    post("/images/load", |request| Box::pin(images::load(request))),
    post("/images/create", |request| Box::pin(images::create(request))),
    post("/images/adopt", |request| Box::pin(images::adopt(request))),
    post("/images/prune", |request| Box::pin(images::prune(request))),
    get("/images/{}/get", |request| Box::pin(images::save(request))),
    get("/images/{}/history", |request| Box::pin(images::history(request))),
    get("/images/{}/json", |request| Box::pin(images::inspect(request))),
    get("/images/{}/diff", |request| Box::pin(images::difference(request))),
    post("/images/{}/convert", |request| Box::pin(images::convert(request))),
    get("/images/{}/signatures", |request| Box::pin(trust::signatures(request))),
    post("/images/{}/signatures", |request| Box::pin(trust::sign(request))),
    get("/trust/policy", |request| Box::pin(trust::policy(request))),
    get("/trust/check", |request| Box::pin(trust::check(request))),
    post("/images/{}/tag", |request| Box::pin(images::tag(request))),
    post("/images/{}/pin", |request| Box::pin(images::pin(request, true))),
    post("/images/{}/unpin", |request| Box::pin(images::pin(request, false))),
    post("/images/{}/push", |request| Box::pin(distribution::push(request))),
    delete("/images/{}", |request| Box::pin(images::remove(request))),
    get("/distribution/{}/json", |request| Box::pin(distribution::distribution(request))),
    get("/distribution/{}/manifest", |request| Box::pin(distribution::manifest(request))),
    route(Method::PUT, "/distribution/{}/manifest", |request| Box::pin(distribution::push_manifest(request))),
    post("/build", |_| absent::unsupported("building images")),
    post("/build/prune", |request| Box::pin(absent::no_build_cache(request))),
    post("/build/cancel", |_| absent::unsupported("building images")),
    post("/session", |_| absent::unsupported("sessions of a builder")),
    post("/grpc", |_| absent::unsupported("gRPC over this connection")),
    // Volumes
    get("/volumes", |request| Box::pin(volumes::list(request))),
    post("/volumes/create", |request| Box::pin(volumes::create(request))),
    post("/volumes/prune", |request| Box::pin(volumes::prune(request))),
    get("/volumes/{}", |request| Box::pin(volumes::inspect(request))),
    route(Method::PUT, "/volumes/{}", |_| absent::cluster_volume()),
    delete("/volumes/{}", |request| Box::pin(volumes::remove(request))),
    // Networks
    get("/networks", |request| Box::pin(networks::list(request))),
    get("/networks/", |request| Box::pin(networks::list(request))),
    get("/networks/{}", |request| Box::pin(networks::inspect(request))),
    post("/networks/create", |_| absent::unsupported("creating networks")),
    post("/networks/prune", |request| Box::pin(networks::prune(request))),
    post("/networks/{}/connect", |_| absent::unsupported("connecting containers to further networks")),
    post("/networks/{}/disconnect", |_| absent::unsupported("disconnecting containers from networks")),
    delete("/networks/{}", |request| Box::pin(networks::remove(request))),
    // Plugins
    get("/plugins", |request| Box::pin(absent::no_plugins(request))),
    get("/plugins/{}/json", |request| Box::pin(absent::no_plugin(request))),
    get("/plugins/privileges", |_| absent::unsupported("plugins")),
    post("/plugins/{}", |_| absent::unsupported("plugins")),
    delete("/plugins/{}", |request| Box::pin(absent::no_plugin(request))),
    // Clusters
    post("/swarm/init", |_| absent::unsupported("swarm mode")),
    post("/swarm/join", |_| absent::unsupported("swarm mode")),
    post("/swarm/leave", |_| absent::no_swarm()),
    get("/swarm", |_| absent::no_manager()),
    get("/swarm/{}", |_| absent::no_manager()),
    post("/swarm/{}", |_| absent::no_manager()),
    get("/nodes", |_| absent::no_manager()),
    get("/nodes/{}", |_| absent::no_manager()),
    post("/nodes/{}", |_| absent::no_manager()),
    delete("/nodes/{}", |_| absent::no_manager()),
    get("/services", |_| absent::no_manager()),
    get("/services/{}", |_| absent::no_manager()),
    post("/services/{}", |_| absent::no_manager()),
    delete("/services/{}", |_| absent::no_manager()),
    get("/tasks", |_| absent::no_manager()),
    get("/tasks/{}", |_| absent::no_manager()),
    get("/secrets", |_| absent::no_manager()),
    get("/secrets/{}", |_| absent::no_manager()),
    post("/secrets/{}", |_| absent::no_manager()),
    delete("/secrets/{}", |_| absent::no_manager()),
    get("/configs", |_| absent::no_manager()),
    get("/configs/{}", |_| absent::no_manager()),
    post("/configs/{}", |_| absent::no_manager()),
    delete("/configs/{}", |_| absent::no_manager()),
];
