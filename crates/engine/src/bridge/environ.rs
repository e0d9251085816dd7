//! The environ of a request (PEP 3333), from a template and cached strings.
//!
//! Names recur in every request and values in most, so that both are kept as Python strings: a name under the bytes it
//! was sent as, a value as the last one of its name. The caches are bounded, because clients choose what is in them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use wire::http1::Underscores;

use crate::boundary::{FileWrapper, RequestBody};
use crate::exchange::{Exchange, Parsed};
use crate::forwarded;
use crate::plan::WorkerPlan;
use crate::spool::SpooledBody;
use crate::sys::Peer;
use crate::worker::Shared;

/// What uWSGI calls itself where apps look; the version whose behaviour is followed.
const UWSGI_VERSION: &[u8] = b"2.0.31";

/// Names that are kept; one more is made anew each time.
const NAMES_KEPT: usize = 512;
/// A value longer than this is not kept.
const VALUE_KEPT_BYTES: usize = 512;

/// FNV-1a: short keys, and the number of entries is bounded, so that collisions can not be used against us.
#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        let mut hash = self.0 ^ 0xcbf2_9ce4_8422_2325;
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One name, and its last value.
struct Name {
    /// None for a header that apps shall not see.
    key: Option<Py<PyString>>,
    last: Option<(Box<[u8]>, Py<PyString>)>,
}

type Names = HashMap<Box<[u8]>, Name, BuildHasherDefault<Fnv>>;

pub struct Environs {
    /// One for each listener.
    templates: Vec<Py<PyDict>>,
    empty_body: Py<RequestBody>,
    headers: Mutex<Names>,
    vars: Mutex<Names>,
    several_threads: bool,
    underscores: Underscores,
}

/// A native string of any bytes: each becomes the character of the same number.
pub fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    // SAFETY: the pointer and length describe `bytes`; the result is a new reference, or null when memory is out, which
    // `from_owned_ptr` answers with a panic. A decoder of latin-1 always gives a str.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t, std::ptr::null());
        Bound::from_owned_ptr(py, text).cast_into_unchecked()
    }
}

impl Name {
    fn value<'py>(&mut self, py: Python<'py>, value: &[u8]) -> Bound<'py, PyString> {
        if let Some((bytes, text)) = &self.last
            && **bytes == *value
        {
            return text.bind(py).clone();
        }
        let text = latin1(py, value);
        if value.len() <= VALUE_KEPT_BYTES {
            self.last = Some((value.into(), text.clone().unbind()));
        }
        text
    }
}

/// Looks a name up, or makes it; the flag tells whether it is kept.
fn with_name<T>(
    py: Python<'_>,
    names: &mut Names,
    bytes: &[u8],
    make: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    use_name: impl FnOnce(&mut Name) -> T,
) -> T {
    if let Some(name) = names.get_mut(bytes) {
        return use_name(name);
    }
    let key = make(bytes).map(|key| {
        let text = latin1(py, &key);
        // Interned names make the app's own look-ups a comparison of pointers.
        text.to_str().map_or_else(|_| text.clone().unbind(), |text| PyString::intern(py, text).unbind())
    });
    let mut name = Name { key, last: None };
    let result = use_name(&mut name);
    if names.len() < NAMES_KEPT {
        names.insert(bytes.into(), name);
    }
    result
}

impl Environs {
    pub fn new(py: Python<'_>, plan: &WorkerPlan) -> PyResult<Self> {
        let engine = &plan.engine;
        let templates = plan
            .listeners
            .iter()
            .map(|listener| {
                let environ = PyDict::new(py);
                environ.set_item("SCRIPT_NAME", "")?;
                environ.set_item("QUERY_STRING", "")?;
                environ.set_item("SERVER_NAME", &engine.server_name)?;
                environ.set_item("SERVER_PORT", &listener.server_port)?;
                environ.set_item("wsgi.version", (1, 0))?;
                environ.set_item("wsgi.url_scheme", "http")?;
                environ.set_item("wsgi.errors", py.import("sys")?.getattr("stderr")?)?;
                environ.set_item("wsgi.multithread", engine.threads > 1)?;
                environ.set_item("wsgi.multiprocess", engine.multiprocess)?;
                environ.set_item("wsgi.run_once", false)?;
                environ.set_item("wsgi.input_terminated", true)?;
                environ.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
                environ.set_item("uwsgi.version", PyBytes::new(py, UWSGI_VERSION))?;
                environ.set_item("uwsgi.node", PyBytes::new(py, engine.server_name.as_bytes()))?;
                Ok(environ.unbind())
            })
            .collect::<PyResult<_>>()?;
        Ok(Self {
            templates,
            empty_body: Py::new(py, RequestBody::empty())?,
            headers: Mutex::default(),
            vars: Mutex::default(),
            several_threads: engine.threads > 1,
            underscores: if engine.underscores_in_headers { Underscores::Keep } else { Underscores::Drop },
        })
    }

    /// Makes the environ, and tells how many variables of the request it has, counted as uWSGI does.
    pub fn make<'py>(
        &self,
        py: Python<'py>,
        exchange: &mut Exchange,
        shared: &Shared,
        thread: usize,
    ) -> PyResult<(Bound<'py, PyDict>, u32)> {
        let environ = self.templates[exchange.listener].bind(py).copy()?;
        let body = std::mem::replace(&mut exchange.body, SpooledBody::Memory(Vec::new()));
        let body_bytes = match &body {
            SpooledBody::Memory(data) => data.len() as u64,
            SpooledBody::File(_, length) => *length,
        };
        let input = if body_bytes == 0 { self.empty_body.clone_ref(py) } else { Py::new(py, RequestBody::new(body))? };
        environ.set_item(intern!(py, "wsgi.input"), input)?;
        if self.several_threads {
            environ.set_item(intern!(py, "uwsgi.core"), thread)?;
        }
        let vars = match &exchange.parsed {
            Parsed::Http(_) => self.fill_from_http(py, &environ, exchange, shared, body_bytes)?,
            Parsed::Uwsgi(_) => self.fill_from_uwsgi(py, &environ, exchange)?,
        };
        Ok((environ, vars))
    }

    fn fill_from_http(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        exchange: &Exchange,
        shared: &Shared,
        body_bytes: u64,
    ) -> PyResult<u32> {
        let Parsed::Http(head) = &exchange.parsed else { return Ok(0) };
        let bytes = &exchange.bytes;
        let mut vars = 0;
        {
            let mut names = self.vars.lock().unwrap_or_else(PoisonError::into_inner);
            let client = shared.client_address(exchange);
            let basics: [(&[u8], &[u8]); 6] = [
                (b"REQUEST_METHOD", exchange.method()),
                (b"REQUEST_URI", exchange.uri()),
                (b"PATH_INFO", exchange.path()),
                (b"QUERY_STRING", exchange.target.query.of(bytes)),
                (b"SERVER_PROTOCOL", exchange.protocol()),
                (b"REMOTE_ADDR", client.as_bytes()),
            ];
            for (name, value) in basics {
                set(py, environ, &mut names, name, value)?;
                vars += 2;
            }
            if let Peer::Inet(address) = exchange.peer {
                environ.set_item(intern!(py, "REMOTE_PORT"), address.port().to_string())?;
                vars += 2;
            }
        }
        let mut names = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut https = false;
        let mut scheme = None;
        for (index, header) in head.headers.iter().enumerate() {
            let name = header.name.of(bytes);
            let value = header.value.of(bytes);
            match name.len() {
                12 if name.eq_ignore_ascii_case(b"content-type") => {
                    environ.set_item(intern!(py, "CONTENT_TYPE"), latin1(py, value))?;
                    vars += 2;
                    continue;
                }
                14 if name.eq_ignore_ascii_case(b"content-length") => continue,
                // The body has been decoded: to the app it has a length (RFC 9112 6.1).
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => continue,
                17 if exchange.trusted && name.eq_ignore_ascii_case(b"x-forwarded-proto") => {
                    scheme = forwarded::scheme(value);
                }
                15 if exchange.trusted && name.eq_ignore_ascii_case(b"x-forwarded-ssl") => https = is_on(value),
                _ => {}
            }
            let is_host = name.len() == 4 && name.eq_ignore_ascii_case(b"host");
            let value = match exchange.target.authority {
                Some(authority) if is_host => authority.of(bytes),
                _ => value,
            };
            let repeated = head.headers[..index]
                .iter()
                .any(|other| other.name.len() == header.name.len() && other.name.of(bytes).eq_ignore_ascii_case(name));
            with_name(
                py,
                &mut names,
                name,
                |name| {
                    let mut key = Vec::new();
                    wire::http1::cgi_name(name, self.underscores, &mut key).then_some(key)
                },
                |entry| -> PyResult<()> {
                    let text = entry.value(py, value);
                    let Some(key) = &entry.key else { return Ok(()) };
                    let key = key.bind(py);
                    // What a front end has set must not be overridden by a name that only looks like it.
                    if name.contains(&b'_') && environ.contains(key)? {
                        return Ok(());
                    }
                    vars += 2;
                    if repeated && let Some(before) = environ.get_item(key)? {
                        // RFC 9110 5.3, and RFC 6265 5.4 for cookies.
                        let between = if name.eq_ignore_ascii_case(b"cookie") { "; " } else { ", " };
                        let joined = format!("{}{between}{}", before.cast::<PyString>()?.to_str()?, text.to_str()?);
                        return environ.set_item(key, joined);
                    }
                    environ.set_item(key, text)
                },
            )?;
        }
        if head.framing != wire::http1::Framing::None {
            environ.set_item(intern!(py, "CONTENT_LENGTH"), body_bytes.to_string())?;
            vars += 2;
        }
        if scheme == Some("https") || (scheme.is_none() && https) {
            environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
            environ.set_item(intern!(py, "HTTPS"), intern!(py, "on"))?;
        }
        Ok(vars)
    }

    fn fill_from_uwsgi(&self, py: Python<'_>, environ: &Bound<'_, PyDict>, exchange: &Exchange) -> PyResult<u32> {
        let Parsed::Uwsgi(packet) = &exchange.parsed else { return Ok(0) };
        let bytes = &exchange.bytes;
        let mut names = self.vars.lock().unwrap_or_else(PoisonError::into_inner);
        let mut vars = 0;
        let mut secure = false;
        let mut scheme = None;
        for (key, value) in &packet.vars {
            let (key, value) = (key.of(bytes), value.of(bytes));
            match key {
                // Not the client's header but a setting of HTTP libraries (httpoxy).
                b"HTTP_PROXY" => continue,
                // The server's own; a front end that sends them is mistaken.
                _ if key.starts_with(b"wsgi.") || key.starts_with(b"uwsgi.") => continue,
                b"HTTPS" => secure = is_on(value),
                b"UWSGI_SCHEME" => scheme = forwarded::scheme(value),
                b"HTTP_X_FORWARDED_PROTO" if exchange.trusted && scheme.is_none() => scheme = forwarded::scheme(value),
                b"HTTP_X_FORWARDED_SSL" if exchange.trusted => secure = secure || is_on(value),
                _ => {}
            }
            set(py, environ, &mut names, key, value)?;
            vars += 2;
        }
        if scheme == Some("https") || (scheme.is_none() && secure) {
            environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
        }
        if packet.modifier1 == 30 {
            let script = exchange.var(b"SCRIPT_NAME");
            if let Some(rest) = exchange.var(b"PATH_INFO").strip_prefix(script).filter(|_| !script.is_empty()) {
                environ.set_item(intern!(py, "PATH_INFO"), latin1(py, rest))?;
            }
        }
        Ok(vars)
    }
}

fn set(py: Python<'_>, environ: &Bound<'_, PyDict>, names: &mut Names, name: &[u8], value: &[u8]) -> PyResult<()> {
    with_name(
        py,
        names,
        name,
        |name| Some(name.to_vec()),
        |entry| {
            let text = entry.value(py, value);
            match &entry.key {
                Some(key) => environ.set_item(key.bind(py), text),
                None => Ok(()),
            }
        },
    )
}

/// `on...` and `1...` mean yes, as uWSGI reads HTTPS.
fn is_on(value: &[u8]) -> bool {
    value.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"on")) || value.first() == Some(&b'1')
}
