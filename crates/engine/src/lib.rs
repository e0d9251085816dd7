//! Penstock's engine: one worker's data plane.
//!
//! Reading order: `worker` (who runs what), `event_loop` (readiness and time), `connection` (bytes to requests),
//! `response` and `socket` (answers to bytes), `bridge` (requests to the app), `boundary` (all that Python sees). What may
//! answer before the app, or say more of the request: `client`, `request_ids`, `routing` and `static_files`, with `pattern` under both; `mounts` tells which of several apps is
//! meant. What is written of it: `request_log`, `access_log`, `log_format`.
//! Everything that a protocol means is in the `wire` crate; everything that touches Python is in `bridge`.

mod access_log;
mod boundary;
mod bridge;
mod budget;
mod client;
mod connection;
mod event_loop;
mod exchange;
mod forwarded;
mod inspect;
mod log_format;
mod mounts;
mod pattern;
mod plan;
mod poller;
mod request_ids;
mod request_log;
mod response;
mod response_options;
mod routing;
mod scoreboard;
mod socket;
mod spool;
mod static_files;
mod store;
mod sys;
mod worker;
