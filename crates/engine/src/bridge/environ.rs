//! The environ of a request (PEP 3333), from a template and cached strings.
//!
//! Names recur in every request and values in most, so that both are kept as Python strings: a name under the bytes it
//! was sent as, a value as the last one of its name. The caches are bounded, because clients choose what is in them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use wire::http1::Underscores;

use crate::access_log::push_decimal;
use crate::boundary::{FileWrapper, RequestBody};
use crate::exchange::{Exchange, Parsed};
use crate::forwarded;
use crate::plan::{ListenerProtocol, WorkerPlan};
use crate::routing::Routed;
use crate::sys::Peer;
use crate::worker::Shared;

/// What uWSGI calls itself where apps look; the version whose behaviour is followed.
const UWSGI_VERSION: &[u8] = b"2.0.31";

/// Names that are kept. When one more comes, all are forgotten: whoever invents names costs the others one look-up each.
const NAMES_KEPT: usize = 512;
/// A name longer than this is not kept.
const NAME_KEPT_BYTES: usize = 64;
/// Names that are interned, over the life of a thread: later versions of CPython never forget an interned string.
const NAMES_INTERNED: usize = 128;
/// A value longer than this is not kept.
const VALUE_KEPT_BYTES: usize = 512;
/// Port numbers whose text is kept, by their last bits.
const PORTS_KEPT: usize = 256;
/// A dict with this many insertions behind it has room for about 40 keys (CPython doubles at two thirds), so that adding
/// a request's headers to a copy of it makes no new table.
const TEMPLATE_INSERTIONS: usize = 22;

/// What the template says, so that most requests need not.
const USUAL_METHOD: &[u8] = b"GET";
const USUAL_PROTOCOL: &[u8] = b"HTTP/1.1";

/// Multiplies whole words: keys are short, and the number of entries is bounded, so that collisions can not be used
/// against us.
#[derive(Default)]
struct WordHasher(u64);

impl WordHasher {
    fn fold(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.fold(u64::from_le_bytes(padded));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its bits from both ends, and a product's low bits are its weakest.
        self.0 ^ self.0 >> 32
    }
}

/// What is done with a header or variable beside handing it to the app.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Plain,
    ContentType,
    /// The app gets another value, or none.
    Replaced,
    Host,
    /// A header whose name has an underscore: it counts only where no other has its key.
    Underscored,
    Cookie,
    ForwardedProto,
    ForwardedSsl,
    Scheme,
    Https,
}

impl Role {
    fn of_header(name: &[u8]) -> Self {
        match name.to_ascii_lowercase().as_slice() {
            b"content-type" => Self::ContentType,
            // The body has been decoded: to the app it has a length (RFC 9112 6.1).
            b"content-length" | b"transfer-encoding" => Self::Replaced,
            b"host" => Self::Host,
            b"cookie" => Self::Cookie,
            b"x-forwarded-proto" => Self::ForwardedProto,
            b"x-forwarded-ssl" => Self::ForwardedSsl,
            name if name.contains(&b'_') => Self::Underscored,
            _ => Self::Plain,
        }
    }

    fn of_var(name: &[u8]) -> Self {
        match name {
            // Not the client's header but a setting of HTTP libraries (httpoxy).
            b"HTTP_PROXY" => Self::Replaced,
            // The server's own; a front end that sends them is mistaken.
            _ if name.starts_with(b"wsgi.") || name.starts_with(b"uwsgi.") => Self::Replaced,
            b"HTTPS" => Self::Https,
            b"UWSGI_SCHEME" => Self::Scheme,
            b"HTTP_X_FORWARDED_PROTO" => Self::ForwardedProto,
            b"HTTP_X_FORWARDED_SSL" => Self::ForwardedSsl,
            _ => Self::Plain,
        }
    }
}

/// The last value of a name, as bytes and as text.
#[derive(Default)]
struct Last {
    bytes: Vec<u8>,
    text: Option<Py<PyString>>,
}

impl Last {
    fn text<'py>(&mut self, py: Python<'py>, value: &[u8]) -> Bound<'py, PyString> {
        if let Some(text) = &self.text
            && self.bytes == value
        {
            return text.bind(py).clone();
        }
        let text = latin1(py, value);
        if value.len() <= VALUE_KEPT_BYTES {
            self.bytes.clear();
            self.bytes.extend_from_slice(value);
            self.text = Some(text.clone().unbind());
        }
        text
    }
}

/// One name, and its last value.
struct Name {
    bytes: Box<[u8]>,
    role: Role,
    /// None for a header that apps shall not see.
    key: Option<Py<PyString>>,
    last: Last,
    /// The name that came behind this one last time: clients send their headers in an order of their own.
    next: usize,
}

/// The names of one kind that were seen.
struct Names {
    all: Vec<Name>,
    index: HashMap<Box<[u8]>, usize, BuildHasherDefault<WordHasher>>,
    /// A name that is too long to be kept.
    passing: Option<Name>,
    interned: usize,
    role: fn(&[u8]) -> Role,
    key: fn(&[u8]) -> Option<Vec<u8>>,
}

impl Names {
    fn new(role: fn(&[u8]) -> Role, key: fn(&[u8]) -> Option<Vec<u8>>) -> Self {
        Self { all: Vec::new(), index: HashMap::default(), passing: None, interned: 0, role, key }
    }

    /// The name that is written as `bytes`, and its place; `previous` is the place of the one before it in the request.
    fn get(&mut self, py: Python<'_>, bytes: &[u8], previous: usize) -> (&mut Name, usize) {
        let guess = self.all.get(previous).map_or(0, |name| name.next);
        if self.all.get(guess).is_some_and(|name| *name.bytes == *bytes) {
            return (&mut self.all[guess], guess);
        }
        if bytes.len() > NAME_KEPT_BYTES {
            let name = self.make(py, bytes);
            return (self.passing.insert(name), NO_NAME);
        }
        let place = match self.index.get(bytes) {
            Some(place) => *place,
            None => self.add(py, bytes),
        };
        if let Some(name) = self.all.get_mut(previous) {
            name.next = place;
        }
        (&mut self.all[place], place)
    }

    fn add(&mut self, py: Python<'_>, bytes: &[u8]) -> usize {
        if self.all.len() >= NAMES_KEPT {
            self.all.clear();
            self.index.clear();
        }
        let name = self.make(py, bytes);
        let place = self.all.len();
        self.all.push(name);
        self.index.insert(bytes.into(), place);
        place
    }

    fn make(&mut self, py: Python<'_>, bytes: &[u8]) -> Name {
        let key = (self.key)(bytes).map(|key| {
            let text = latin1(py, &key);
            if key.len() > NAME_KEPT_BYTES || self.interned >= NAMES_INTERNED {
                return text.unbind();
            }
            self.interned += 1;
            // Interned names make the app's own look-ups a comparison of pointers.
            text.to_str().map_or_else(|_| text.clone().unbind(), |text| PyString::intern(py, text).unbind())
        });
        Name { bytes: bytes.into(), role: (self.role)(bytes), key, last: Last::default(), next: 0 }
    }
}

/// The place before a request's first name.
const NO_NAME: usize = usize::MAX;

fn header_key(name: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    wire::http1::cgi_name(name, Underscores::Drop, &mut key).then_some(key)
}

/// As `header_key`, where names with underscores are let in.
fn any_header_key(name: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    wire::http1::cgi_name(name, Underscores::Keep, &mut key).then_some(key)
}

fn var_key(name: &[u8]) -> Option<Vec<u8>> {
    Some(name.to_vec())
}

/// The strings that one app thread keeps between requests.
pub struct Kept {
    headers: Names,
    vars: Names,
    method: Last,
    uri: Last,
    path: Last,
    query: Last,
    address: Last,
    ports: Vec<Option<(u16, Py<PyString>)>>,
}

impl Kept {
    /// `underscores`: header names with an underscore reach the app.
    pub fn new(underscores: bool) -> Self {
        Self {
            headers: Names::new(Role::of_header, if underscores { any_header_key } else { header_key }),
            vars: Names::new(Role::of_var, var_key),
            method: Last::default(),
            uri: Last::default(),
            path: Last::default(),
            query: Last::default(),
            address: Last::default(),
            ports: std::iter::repeat_with(|| None).take(PORTS_KEPT).collect(),
        }
    }
}

impl Kept {
    fn port<'py>(&mut self, py: Python<'py>, port: u16) -> Bound<'py, PyString> {
        let place = &mut self.ports[usize::from(port) % PORTS_KEPT];
        match place {
            Some((kept, text)) if *kept == port => text.bind(py).clone(),
            _ => {
                let text = decimal(py, u64::from(port));
                *place = Some((port, text.clone().unbind()));
                text
            }
        }
    }
}

pub struct Environs {
    /// One for each listener, with what every request sets standing in it already.
    templates: Vec<Py<PyDict>>,
    several_threads: bool,
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

fn decimal(py: Python<'_>, number: u64) -> Bound<'_, PyString> {
    let mut digits = Vec::with_capacity(20);
    push_decimal(&mut digits, number);
    latin1(py, &digits)
}

/// A dict with the same items that is quick to copy and to fill.
fn template<'py>(py: Python<'py>, items: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    let template = PyDict::new(py);
    for (key, value) in items {
        // Interned, as the names that requests and apps come with, so that they are compared by their address.
        template.set_item(PyString::intern(py, key.cast::<PyString>()?.to_str()?), value)?;
    }
    // Strings, because a dict with any other key in it looks all of them up the slow way.
    let padding: Vec<String> = (items.len()..TEMPLATE_INSERTIONS).map(|number| format!("padding {number}")).collect();
    for key in &padding {
        template.set_item(key, "")?;
    }
    for key in &padding {
        template.del_item(key)?;
    }
    Ok(template)
}

impl Environs {
    pub fn new(py: Python<'_>, plan: &WorkerPlan) -> PyResult<Self> {
        let engine = &plan.engine;
        let empty_body = Bound::new(py, RequestBody::empty())?;
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
                environ.set_item("wsgi.input", &empty_body)?;
                environ.set_item("wsgi.errors", py.import("sys")?.getattr("stderr")?)?;
                environ.set_item("wsgi.multithread", engine.threads > 1)?;
                environ.set_item("wsgi.multiprocess", engine.multiprocess)?;
                environ.set_item("wsgi.run_once", false)?;
                environ.set_item("wsgi.input_terminated", true)?;
                if engine.file_wrapper {
                    environ.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
                }
                environ.set_item("uwsgi.version", PyBytes::new(py, UWSGI_VERSION))?;
                environ.set_item("uwsgi.node", PyBytes::new(py, engine.server_name.as_bytes()))?;
                if listener.protocol == ListenerProtocol::Http {
                    environ.set_item("REQUEST_METHOD", latin1(py, USUAL_METHOD))?;
                    environ.set_item("SERVER_PROTOCOL", latin1(py, USUAL_PROTOCOL))?;
                    // Each request replaces these; here they only hold their places.
                    for name in ["REQUEST_URI", "PATH_INFO", "REMOTE_ADDR"] {
                        environ.set_item(name, "")?;
                    }
                    if !listener.is_unix {
                        environ.set_item("REMOTE_PORT", "")?;
                    }
                }
                Ok(template(py, &environ)?.unbind())
            })
            .collect::<PyResult<_>>()?;
        Ok(Self { templates, several_threads: engine.threads > 1 })
    }

    /// Makes the environ, and tells how many variables of the request it has, counted as uWSGI does.
    pub fn make<'py>(
        &self,
        py: Python<'py>,
        exchange: &mut Exchange,
        shared: &Shared,
        thread: usize,
        kept: &mut Kept,
    ) -> PyResult<(Bound<'py, PyDict>, u32)> {
        let environ = self.templates[exchange.listener].bind(py).copy()?;
        let body = std::mem::take(&mut exchange.body);
        let body_bytes = body.length();
        if body_bytes > 0 {
            environ.set_item(intern!(py, "wsgi.input"), Bound::new(py, RequestBody::new(body))?)?;
        }
        if self.several_threads {
            environ.set_item(intern!(py, "uwsgi.core"), thread)?;
        }
        let vars = match &exchange.parsed {
            Parsed::Http(_) => fill_from_http(py, &environ, exchange, shared, body_bytes, kept)?,
            Parsed::Uwsgi(_) => fill_from_uwsgi(py, &environ, exchange, kept)?,
        };
        match &exchange.routed {
            Some(routed) => Ok((environ.clone(), vars + apply_rules(py, &environ, routed)?)),
            None => Ok((environ, vars)),
        }
    }
}

/// Sets what rules have set; tells how many variables were added, counted as uWSGI does.
#[cold]
fn apply_rules(py: Python<'_>, environ: &Bound<'_, PyDict>, routed: &Routed) -> PyResult<u32> {
    let before = environ.len();
    for (name, value) in &routed.vars {
        environ.set_item(latin1(py, name), latin1(py, value))?;
    }
    if let Some(scheme) = routed.var(b"UWSGI_SCHEME").and_then(forwarded::scheme) {
        environ.set_item(intern!(py, "wsgi.url_scheme"), scheme)?;
    }
    Ok(2 * u32::try_from(environ.len() - before).unwrap_or(0))
}

fn fill_from_http(
    py: Python<'_>,
    environ: &Bound<'_, PyDict>,
    exchange: &Exchange,
    shared: &Shared,
    body_bytes: u64,
    kept: &mut Kept,
) -> PyResult<u32> {
    let Parsed::Http(head) = &exchange.parsed else { return Ok(0) };
    let bytes = &exchange.bytes;
    let client = shared.client_address(exchange);
    if exchange.method() != USUAL_METHOD {
        environ.set_item(intern!(py, "REQUEST_METHOD"), kept.method.text(py, exchange.method()))?;
    }
    if exchange.protocol() != USUAL_PROTOCOL {
        environ.set_item(intern!(py, "SERVER_PROTOCOL"), latin1(py, exchange.protocol()))?;
    }
    let uri = kept.uri.text(py, exchange.uri());
    if exchange.path() == exchange.uri() {
        environ.set_item(intern!(py, "PATH_INFO"), &uri)?;
    } else {
        environ.set_item(intern!(py, "PATH_INFO"), kept.path.text(py, exchange.path()))?;
    }
    environ.set_item(intern!(py, "REQUEST_URI"), uri)?;
    environ.set_item(intern!(py, "REMOTE_ADDR"), kept.address.text(py, client.as_bytes()))?;
    let query = exchange.target.query.of(bytes);
    if !query.is_empty() {
        environ.set_item(intern!(py, "QUERY_STRING"), kept.query.text(py, query))?;
    }
    let mut vars = 12;
    if let Peer::Inet(address) = exchange.peer {
        environ.set_item(intern!(py, "REMOTE_PORT"), kept.port(py, address.port()))?;
        vars += 2;
    }
    let mut https = false;
    let mut scheme = None;
    let mut size = environ.len();
    let mut is_underscored = false;
    let mut place = NO_NAME;
    for header in &head.headers {
        let value = header.value.of(bytes);
        let name;
        (name, place) = kept.headers.get(py, header.name.of(bytes), place);
        match name.role {
            Role::ContentType => {
                environ.set_item(intern!(py, "CONTENT_TYPE"), name.last.text(py, value))?;
                size = environ.len();
                vars += 2;
                continue;
            }
            Role::Replaced => continue,
            Role::Underscored => {
                is_underscored = true;
                continue;
            }
            Role::ForwardedProto if exchange.trusted => scheme = forwarded::scheme(value),
            Role::ForwardedProto => shared.notice_stranger(exchange),
            Role::ForwardedSsl if exchange.trusted => https = forwarded::is_on(value),
            _ => {}
        }
        let Some(key) = &name.key else { continue };
        let value = match exchange.target.authority {
            Some(authority) if name.role == Role::Host => authority.of(bytes),
            _ => value,
        };
        let (key, text) = (key.bind(py), name.last.text(py, value));
        vars += 2;
        let before = set_default(environ, key, &text)?;
        if environ.len() > size {
            size += 1;
            continue;
        }
        // The header is repeated (RFC 9110 5.3, and RFC 6265 5.4 for cookies).
        let between = if name.role == Role::Cookie { "; " } else { ", " };
        let joined = format!("{}{between}{}", before.to_str()?, text.to_str()?);
        environ.set_item(key, joined)?;
    }
    if is_underscored {
        // What a front end has set must not be overridden, or added to, by a name that only looks like it.
        for header in head.headers.iter().filter(|header| header.name.of(bytes).contains(&b'_')) {
            let (name, _) = kept.headers.get(py, header.name.of(bytes), NO_NAME);
            let Some(key) = &name.key else { continue };
            let text = name.last.text(py, header.value.of(bytes));
            let size = environ.len();
            set_default(environ, key.bind(py), &text)?;
            vars += if environ.len() > size { 2 } else { 0 };
        }
    }
    if head.framing != wire::http1::Framing::None {
        environ.set_item(intern!(py, "CONTENT_LENGTH"), decimal(py, body_bytes))?;
        vars += 2;
    }
    if let Some(client) = &exchange.client {
        (scheme, https) = (None, client.is_secure);
    }
    if scheme == Some("https") || (scheme.is_none() && https) {
        environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
        environ.set_item(intern!(py, "HTTPS"), intern!(py, "on"))?;
    }
    Ok(vars)
}

fn fill_from_uwsgi(py: Python<'_>, environ: &Bound<'_, PyDict>, exchange: &Exchange, kept: &mut Kept) -> PyResult<u32> {
    let Parsed::Uwsgi(packet) = &exchange.parsed else { return Ok(0) };
    let bytes = &exchange.bytes;
    let mut vars = 0;
    let mut secure = false;
    let mut scheme = None;
    let mut place = NO_NAME;
    for (key, value) in &packet.vars {
        let value = value.of(bytes);
        let name;
        (name, place) = kept.vars.get(py, key.of(bytes), place);
        match name.role {
            Role::Replaced => continue,
            Role::Https => secure = forwarded::is_on(value),
            Role::Scheme => scheme = forwarded::scheme(value),
            Role::ForwardedProto if exchange.trusted && scheme.is_none() => scheme = forwarded::scheme(value),
            Role::ForwardedSsl if exchange.trusted => secure = secure || forwarded::is_on(value),
            _ => {}
        }
        if let Some(key) = &name.key {
            environ.set_item(key.bind(py), name.last.text(py, value))?;
        }
        vars += 2;
    }
    if scheme == Some("https") || (scheme.is_none() && secure) {
        environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
    }
    if let Some(path) = exchange.cut_path() {
        environ.set_item(intern!(py, "PATH_INFO"), latin1(py, path))?;
    }
    Ok(vars)
}

/// The value that stands at `key` afterwards: `value`, if there was none.
fn set_default<'py>(
    environ: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
    value: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: all three are live objects of their types; the result is borrowed from the dict, or null with an
    // exception set. Only strings are ever stored under the keys of headers.
    unsafe {
        let found = ffi::PyDict_SetDefault(environ.as_ptr(), key.as_ptr(), value.as_ptr());
        Ok(Bound::from_borrowed_ptr_or_err(environ.py(), found)?.cast_into_unchecked())
    }
}
