//! The worker's plan as Python hands it over, read by field name from `penstock.plan.types`.

use pyo3::prelude::*;

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct StaticPlan {
    pub maps: Vec<MapPlan>,
    pub docroot: bool,
    pub safe: Vec<String>,
    pub index: Vec<String>,
    pub skipped_suffixes: Vec<String>,
    pub compressed_all: bool,
    pub compressed_patterns: Vec<String>,
    pub compressed_prefixes: Vec<String>,
    pub compressed_suffixes: Vec<String>,
    pub expires: Vec<ExpiryPlan>,
    pub serve_mode: String,
    pub mime_types: String,
}

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct MapPlan {
    pub prefix: String,
    pub path: String,
    pub keeps_prefix: bool,
}

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct ExpiryPlan {
    pub subject: String,
    pub pattern: String,
    pub seconds: u64,
    pub from_change: bool,
}

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct MountingPlan {
    pub by_path: bool,
    pub by_script_name: bool,
    pub count: usize,
    pub first_id: i32,
    pub fallback_id: i32,
    pub points: Vec<String>,
}

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct ResponsePlan {
    pub added_headers: Vec<(String, String)>,
    pub removed_headers: Vec<String>,
    pub head_limit_bytes: usize,
    pub error_pages: Vec<(u16, String)>,
    pub files_are_read: bool,
}

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct RequestLogPlan {
    pub enabled: bool,
    pub format: String,
    pub is_json: bool,
    pub strftime: String,
    pub prefix: String,
    pub micros: bool,
    pub memory: bool,
    pub forwarded_for: bool,
    pub client_errors: bool,
    pub server_errors: bool,
    pub empty: bool,
    pub sendfile: bool,
    pub io_errors: bool,
    pub slow_ms: u64,
    pub big_bytes: u64,
}

/// Pieces of a text that is put together for each request: (kind, what).
pub type TemplatePlan = Vec<(String, String)>;

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct RulePlan {
    pub place: String,
    pub condition: String,
    pub is_negated: bool,
    pub operands: Vec<TemplatePlan>,
    pub constant: String,
    pub action: String,
    pub arguments: Vec<TemplatePlan>,
    pub target: usize,
}

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct RoutesPlan {
    pub request: Vec<RulePlan>,
    pub response: Vec<RulePlan>,
    pub last: Vec<RulePlan>,
}

#[derive(FromPyObject, Clone, Debug, Default)]
pub struct HarakiriPlan {
    pub limit_s: u64,
    pub graceful_s: f64,
    pub graceful_signal: i32,
    pub queue_threshold: u64,
    pub verbose: bool,
}

#[derive(FromPyObject, Clone, Debug)]
pub struct EnginePlan {
    pub threads: usize,
    pub multiprocess: bool,
    pub server_name: String,
    pub head_limit_bytes: usize,
    pub header_limit_count: usize,
    pub underscores_in_headers: bool,
    pub body_limit_bytes: u64,
    pub body_memory_bytes: usize,
    pub body_memory_total_bytes: u64,
    pub spool_dir: String,
    pub routes: RoutesPlan,
    pub response_buffer_bytes: usize,
    pub response_buffer_total_bytes: u64,
    pub response_spool_bytes: u64,
    pub response_spool_total_bytes: u64,
    pub header_timeout_s: f64,
    pub body_timeout_s: f64,
    pub write_timeout_s: f64,
    pub keepalive_timeout_s: f64,
    pub max_requests: u64,
    pub min_worker_lifetime_s: f64,
    pub drain_timeout_s: f64,
    pub trusted_proxies: Vec<String>,
    pub trusted_headers: Vec<String>,
    pub drops_forwarded: bool,
    #[pyo3(attribute("static"))]
    pub static_files: StaticPlan,
    pub mounting: MountingPlan,
    pub response: ResponsePlan,
    pub file_wrapper: bool,
    pub proxy_protocol: bool,
    pub log: RequestLogPlan,
    pub max_requests_delta: u64,
    pub request_ids: bool,
    pub trace_context: bool,
    pub harakiri: HarakiriPlan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    Http,
    Uwsgi,
}

impl<'py> FromPyObject<'_, 'py> for ListenerProtocol {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match value.extract::<String>()?.as_str() {
            "http" => Ok(Self::Http),
            "uwsgi" => Ok(Self::Uwsgi),
            other => Err(pyo3::exceptions::PyValueError::new_err(format!(
                "unknown listener protocol {other:?}: expected \"http\" or \"uwsgi\""
            ))),
        }
    }
}

#[derive(FromPyObject, Clone, Debug)]
pub struct ListenerHandle {
    pub fd: i32,
    pub protocol: ListenerProtocol,
    pub name: String,
    pub server_port: String,
    pub is_unix: bool,
    pub is_kept: bool,
}

#[derive(FromPyObject, Clone, Debug)]
pub struct WorkerPlan {
    pub engine: EnginePlan,
    pub worker_id: u32,
    pub listeners: Vec<ListenerHandle>,
    pub control_fd: i32,
    pub lifeline_fd: i32,
    pub scoreboard_fd: i32,
    pub scoreboard_slot: usize,
    pub handoff_receive_fd: i32,
    pub handoff_send_fd: i32,
    pub log_fd: i32,
    pub request_log_fd: i32,
    pub starts_paused: bool,
}
