//! THE boundary: every class and function that Python sees. Its types are in `penstock/_engine.pyi`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::exceptions::{PyStopIteration, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::bridge::{Lookout, ResponseSlot, Responses, WsgiApp};
use crate::budget::Charge;
use crate::inspect;
use crate::log_format::{self, Notes};
use crate::pattern::Pattern;
use crate::plan::WorkerPlan;
use crate::scoreboard;
use crate::spool::SpooledBody;
use crate::sys;
use crate::worker::{Signals, Worker};

pyo3::create_exception!(
    penstock._engine,
    EngineError,
    pyo3::exceptions::PyException,
    "The engine could not start: what happened, and the file descriptor or address at fault."
);

#[pyclass(frozen, module = "penstock._engine")]
pub struct Engine {
    worker: Arc<Worker>,
    responses: Arc<Responses>,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(
        signature = (plan, app, mounts=Vec::new(), failed=None, lookout=None),
        text_signature = "(plan, app, mounts=(), failed=None, lookout=None)"
    )]
    fn new(
        py: Python<'_>,
        plan: WorkerPlan,
        app: Option<Py<PyAny>>,
        mounts: Vec<(String, Py<PyAny>)>,
        failed: Option<Py<PyAny>>,
        lookout: Option<LookoutObject>,
    ) -> PyResult<Self> {
        let signals = lookout.as_ref().map(LookoutObject::signals).unwrap_or_default();
        let app = WsgiApp::new(py, &plan, app, mounts, failed, lookout.map(LookoutObject::into))?;
        let responses = app.responses();
        let worker =
            Worker::new(plan, Box::new(app), signals).map_err(|error| EngineError::new_err(error.to_string()))?;
        Ok(Self { worker: Arc::new(worker), responses })
    }

    /// Tell the engine that the app forked: after it, in the parent and in the child (for `os.register_at_fork`).
    fn forked(&self, in_child: bool) {
        if in_child {
            self.worker.shared.disown();
        } else {
            self.worker.shared.note_child();
        }
    }

    /// The descriptor of the connection that app thread `thread` answers to.
    fn connection_fd(&self, py: Python<'_>, thread: usize) -> PyResult<i32> {
        let found = self.responses.connection_fd(py, thread);
        found.ok_or_else(|| PyValueError::new_err(format!("app thread {thread} answers no request")))
    }

    /// Remember a variable for the log line of the request that app thread `thread` is busy with.
    fn set_log_variable(&self, thread: usize, name: &[u8], value: &[u8]) -> PyResult<()> {
        self.notes(thread, |notes| notes.set(name, value))
    }

    /// What `set_log_variable` was told for that request, if anything.
    fn log_variable<'py>(&self, py: Python<'py>, thread: usize, name: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.notes(thread, |notes| notes.get(name).map(|value| PyBytes::new(py, value)))
    }

    /// Write the log line of that request whatever the options say.
    fn log_this_request(&self, thread: usize) -> PyResult<()> {
        self.notes(thread, |notes| notes.is_wanted = true)
    }

    /// Have the request of app thread `thread` end in so many seconds; 0 takes that back.
    fn set_harakiri(&self, thread: usize, seconds: f64) {
        let in_us = (seconds * 1e6).max(0.0) as u64;
        self.worker.shared.wish_end(thread, in_us);
    }

    /// Whether the main thread runs a request that is to be interrupted.
    fn is_interrupted(&self) -> bool {
        self.worker.shared.duty(0).is_interrupted()
    }

    /// Serve as app thread `thread` (0 is the main thread) until the worker is told to leave.
    fn run(&self, py: Python<'_>, thread: usize) -> PyResult<&'static str> {
        if thread >= self.worker.shared.plan.engine.threads {
            return Err(PyValueError::new_err(format!(
                "thread {thread} is not one of the plan's {} threads",
                self.worker.shared.plan.engine.threads
            )));
        }
        py.detach(|| self.worker.run(thread))
            .map(crate::worker::StopReason::name)
            .map_err(|error| EngineError::new_err(error.to_string()))
    }
}

impl Engine {
    fn notes<T>(&self, thread: usize, act: impl FnOnce(&mut Notes) -> T) -> PyResult<T> {
        let result = self.worker.shared.logs.with_notes(thread, act);
        result.ok_or_else(|| PyValueError::new_err(format!("there is no app thread {thread}")))
    }
}

/// What Python has for requests that take too long, by attribute.
#[derive(FromPyObject)]
struct LookoutObject {
    interruption: Py<PyAny>,
    describe: Py<PyAny>,
    dump_signal: i32,
    dump_fd: i32,
    interrupt_signal: i32,
}

impl LookoutObject {
    fn signals(&self) -> Signals {
        Signals { dump: self.dump_signal, dump_fd: self.dump_fd, interrupt: self.interrupt_signal }
    }

    fn into(self) -> Lookout {
        Lookout { interruption: self.interruption, describe: self.describe }
    }
}

/// What `start_response` is a method of.
#[pyclass(frozen, module = "penstock._engine")]
struct StartResponse {
    slot: Arc<ResponseSlot>,
    write: Py<PyAny>,
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info=None))]
    fn start_response(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        self.slot.start(py, status, headers, exc_info)?;
        Ok(self.write.clone_ref(py))
    }
}

/// What `write`, which `start_response` returns, is a method of.
#[pyclass(frozen, module = "penstock._engine")]
struct Write {
    slot: Arc<ResponseSlot>,
}

#[pymethods]
impl Write {
    #[pyo3(signature = (data, /))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        self.slot.write(py, data.as_bytes())
    }
}

/// The callables that an app is given, and the slot that they act on: bound methods, because those are called without
/// a tuple of arguments. They serve one request after another for as long as no app keeps one of them.
pub struct Callbacks {
    pub slot: Arc<ResponseSlot>,
    pub start_response: Py<PyAny>,
    start: Py<StartResponse>,
    write: Py<PyAny>,
    writer: Py<Write>,
}

impl Callbacks {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let slot = Arc::new(ResponseSlot::default());
        let writer = Bound::new(py, Write { slot: Arc::clone(&slot) })?;
        let write = writer.getattr(intern!(py, "write"))?.unbind();
        let start = Bound::new(py, StartResponse { slot: Arc::clone(&slot), write: write.clone_ref(py) })?;
        let start_response = start.getattr(intern!(py, "start_response"))?.unbind();
        Ok(Self { slot, start_response, start: start.unbind(), write, writer: writer.unbind() })
    }

    /// Whether anything outside still refers to them: then they must not be used for another request.
    pub fn are_kept(&self, py: Python<'_>) -> bool {
        let counts = [
            refcount(self.start_response.bind(py)),
            refcount(self.start.bind(py)),
            refcount(self.write.bind(py)),
            refcount(self.writer.bind(py)),
        ];
        // Each has our reference, and all but the first one of what stands before or behind it.
        counts != [1, 2, 2, 2]
    }
}

fn refcount<T>(object: &Bound<'_, T>) -> isize {
    // SAFETY: a bound reference is to a live object.
    unsafe { pyo3::ffi::Py_REFCNT(object.as_ptr()) }
}

enum BodySource {
    Memory { data: Vec<u8>, position: usize, _charge: Option<Charge> },
    File { file: File, length: u64, position: u64, ahead: Vec<u8>, ahead_used: usize },
}

/// `wsgi.input`.
#[pyclass(frozen, module = "penstock._engine")]
pub struct RequestBody {
    source: Mutex<BodySource>,
}

/// How much of a spooled body is read at once for `readline`.
const READ_AHEAD_BYTES: usize = 64 * 1024;

impl RequestBody {
    pub fn empty() -> Self {
        Self::new(SpooledBody::default())
    }

    pub fn new(body: SpooledBody) -> Self {
        let source = match body {
            SpooledBody::Memory(data, charge) => BodySource::Memory { data, position: 0, _charge: charge },
            SpooledBody::File(file, length) => {
                BodySource::File { file, length, position: 0, ahead: Vec::new(), ahead_used: 0 }
            }
        };
        Self { source: Mutex::new(source) }
    }

    /// The interpreter's lock is given back while another thread reads from a file.
    fn source(&self, py: Python<'_>) -> MutexGuard<'_, BodySource> {
        loop {
            match self.source.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    py.detach(|| drop(self.source.lock().unwrap_or_else(PoisonError::into_inner)));
                }
            }
        }
    }

    /// A negative or missing size means everything (PEP 3333; `read(0)` is the empty string, as for files).
    fn wanted(size: Option<isize>) -> usize {
        size.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX))
    }

    fn line<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let most = Self::wanted(size);
        let mut source = self.source(py);
        if let BodySource::Memory { data, position, .. } = &mut *source {
            let rest = &data[*position..position.saturating_add(most).min(data.len())];
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            *position += length;
            return Ok(PyBytes::new(py, &rest[..length]));
        }
        drop(source);
        let line = py.detach(|| self.source.lock().unwrap_or_else(PoisonError::into_inner).take_line(most))?;
        Ok(PyBytes::new(py, &line))
    }

    /// The bytes go from where they are kept to the object that the app gets, and nowhere between.
    fn part<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyBytes>> {
        let mut source = self.source(py);
        let wanted = match &mut *source {
            BodySource::Memory { data, position, .. } => {
                let rest = &data[*position..];
                let part = &rest[..rest.len().min(most)];
                *position += part.len();
                return Ok(PyBytes::new(py, part));
            }
            BodySource::File { length, position, .. } => {
                most.min(usize::try_from(*length - *position).unwrap_or(usize::MAX))
            }
        };
        drop(source);
        PyBytes::new_with(py, wanted, |out| {
            py.detach(|| self.source.lock().unwrap_or_else(PoisonError::into_inner).fill(out))?;
            Ok(())
        })
    }
}

impl BodySource {
    /// Reads exactly as much as `out` holds. Only files: what is in memory is copied at once.
    fn fill(&mut self, out: &mut [u8]) -> std::io::Result<()> {
        let Self::File { file, position, ahead, ahead_used, .. } = self else { return Ok(()) };
        let ready = &ahead[*ahead_used..];
        let from_ahead = ready.len().min(out.len());
        out[..from_ahead].copy_from_slice(&ready[..from_ahead]);
        *ahead_used += from_ahead;
        file.read_exact(&mut out[from_ahead..])?;
        *position += out.len() as u64;
        Ok(())
    }

    /// Reads a line. Only files: what is in memory is copied at once.
    fn take_line(&mut self, most: usize) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let Self::File { file, length, position, ahead, ahead_used } = self else { return Ok(line) };
        while line.len() < most && *position < *length {
            if *ahead_used == ahead.len() {
                ahead.clear();
                *ahead_used = 0;
                file.take(READ_AHEAD_BYTES as u64).read_to_end(ahead)?;
                if ahead.is_empty() {
                    break;
                }
            }
            let ready = &ahead[*ahead_used..];
            let ready = &ready[..ready.len().min(most - line.len())];
            let found = memchr::memchr(b'\n', ready);
            let count = found.map_or(ready.len(), |at| at + 1);
            line.extend_from_slice(&ready[..count]);
            *ahead_used += count;
            *position += count as u64;
            if found.is_some() {
                break;
            }
        }
        Ok(line)
    }

    fn seek(&mut self, offset: i64, whence: i32) -> std::io::Result<u64> {
        let (length, current) = match self {
            Self::Memory { data, position, .. } => (data.len() as u64, *position as u64),
            Self::File { length, position, .. } => (*length, *position),
        };
        let base = match whence {
            0 => 0,
            1 => current,
            2 => length,
            _ => return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput)),
        };
        let target = base
            .checked_add_signed(offset)
            .filter(|target| *target <= length)
            .ok_or_else(|| std::io::Error::other("seek outside of the request body"))?;
        match self {
            Self::Memory { position, .. } => *position = usize::try_from(target).unwrap_or(usize::MAX),
            Self::File { file, position, ahead, ahead_used, .. } => {
                file.seek(SeekFrom::Start(target))?;
                ahead.clear();
                *ahead_used = 0;
                *position = target;
            }
        }
        Ok(target)
    }
}

#[pymethods]
impl RequestBody {
    #[pyo3(signature = (size=Some(-1), /), text_signature = "($self, size=-1, /)")]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.part(py, Self::wanted(size))
    }

    #[pyo3(signature = (size=Some(-1), /), text_signature = "($self, size=-1, /)")]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.line(py, size)
    }

    #[pyo3(signature = (hint=Some(-1), /), text_signature = "($self, hint=-1, /)")]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let enough = match hint {
            Some(hint) if hint > 0 => Self::wanted(Some(hint)),
            _ => usize::MAX,
        };
        let mut total = 0;
        while total < enough {
            let line = self.line(py, None)?;
            if line.as_bytes().is_empty() {
                break;
            }
            total += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    #[pyo3(signature = (offset, whence=0, /))]
    fn seek(&self, py: Python<'_>, offset: i64, whence: i32) -> PyResult<u64> {
        Ok(self.source(py).seek(offset, whence)?)
    }

    fn tell(&self, py: Python<'_>) -> u64 {
        match &*self.source(py) {
            BodySource::Memory { position, .. } => *position as u64,
            BodySource::File { position, .. } => *position,
        }
    }

    /// Nothing to do: the body goes with the request.
    fn close(&self) {}

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let line = self.line(py, None)?;
        if line.as_bytes().is_empty() { Err(PyStopIteration::new_err(())) } else { Ok(line) }
    }
}

/// A part of an open file that the kernel can send.
pub struct FilePart {
    pub file: OwnedFd,
    pub offset: u64,
    pub length: u64,
}

/// `wsgi.file_wrapper`.
#[pyclass(frozen, module = "penstock._engine")]
pub struct FileWrapper {
    file: Py<PyAny>,
    block_size: usize,
}

impl FileWrapper {
    /// The rest of the file, if the kernel can send it as it lies: a file object of Python's own whose bytes are those
    /// of the descriptor. Others (compressed, encoded, in memory) must be read.
    pub fn part(&self, py: Python<'_>) -> PyResult<Option<FilePart>> {
        let mut file = self.file.bind(py).clone();
        if file.get_type().name()?.to_str()? == "_TemporaryFileWrapper" {
            file = file.getattr(intern!(py, "file"))?;
        }
        let io = py.import(intern!(py, "io"))?;
        let is_plain = ["BufferedReader", "BufferedRandom", "FileIO"]
            .into_iter()
            .any(|class| io.getattr(class).is_ok_and(|class| file.get_type().is(&class)));
        if !is_plain {
            return Ok(None);
        }
        // A buffered reader may wrap something else than a file (a decompressor): then its raw part is no FileIO.
        if let Some(raw) = file.getattr_opt(intern!(py, "raw"))?
            && !raw.get_type().is(&io.getattr("FileIO")?)
        {
            return Ok(None);
        }
        let Ok(fd) = file.call_method0(intern!(py, "fileno")).and_then(|fd| fd.extract::<i32>()) else {
            return Ok(None);
        };
        let Some((size, _)) = sys::regular_file(fd) else { return Ok(None) };
        let offset: u64 = file.call_method0(intern!(py, "tell"))?.extract()?;
        // SAFETY: the file object is referenced for the length of this call, so that its descriptor stays open.
        let copy = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
        Ok(Some(FilePart { file: copy, offset, length: size.saturating_sub(offset) }))
    }
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (file, block_size=8192, /))]
    fn new(file: Py<PyAny>, block_size: isize) -> PyResult<Self> {
        let block_size = usize::try_from(block_size)
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| PyValueError::new_err("the block size of a file wrapper must be greater than 0"))?;
        Ok(Self { file, block_size })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.file.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(method) => method.call0().map(drop),
            None => Ok(()),
        }
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let block = self.file.bind(py).call_method1(intern!(py, "read"), (self.block_size,))?;
        let block = block.cast_into::<PyBytes>().map_err(|_| {
            PyTypeError::new_err("a file given to wsgi.file_wrapper must read bytes: open it in binary mode")
        })?;
        if block.as_bytes().is_empty() { Err(PyStopIteration::new_err(())) } else { Ok(block) }
    }
}

/// Describe what Python must not keep a second copy of.
#[pyfunction]
fn catalogue(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let errors = PyDict::new(py);
    for error in wire::Error::ALL {
        errors.set_item(error.code(), (error.status(), error.fault().name(), error.explanation()))?;
    }
    let layout = scoreboard::layout();
    let board = PyDict::new(py);
    board.set_item("magic", layout.magic)?;
    board.set_item("version", layout.version)?;
    board.set_item("header_bytes", layout.header_bytes)?;
    board.set_item("worker_bytes", layout.worker_bytes)?;
    board.set_item("thread_bytes", layout.thread_bytes)?;
    for (name, fields) in [
        ("header_fields", layout.header_fields),
        ("worker_fields", layout.worker_fields),
        ("thread_fields", layout.thread_fields),
    ] {
        let described = PyDict::new(py);
        for field in fields {
            described.set_item(field.name, (field.offset, field.kind))?;
        }
        board.set_item(name, described)?;
    }
    let catalogue = PyDict::new(py);
    catalogue.set_item("errors", errors)?;
    catalogue.set_item("scoreboard", board)?;
    catalogue.set_item("log_variables", log_format::names())?;
    Ok(catalogue)
}

/// Parse `data` as a peer would send it and tell what the engine makes of it, without serving anything.
#[pyfunction]
#[pyo3(name = "inspect", signature = (protocol, data, limits=None))]
fn inspect_bytes<'py>(
    py: Python<'py>,
    protocol: &str,
    data: &[u8],
    limits: Option<std::collections::HashMap<String, u64>>,
) -> PyResult<Bound<'py, PyDict>> {
    inspect::inspect(py, protocol, data, &limits.unwrap_or_default())
}

/// Tell what is wrong with a regular expression of the configuration; None if nothing is.
#[pyfunction]
#[pyo3(signature = (pattern, /))]
fn check_pattern(py: Python<'_>, pattern: &str) -> Option<String> {
    py.detach(|| Pattern::new(pattern).err())
}

/// A regular expression of the configuration, for lines of logs.
#[pyclass(frozen, module = "penstock._engine", name = "Pattern")]
struct LinePattern(Pattern);

#[pymethods]
impl LinePattern {
    #[new]
    #[pyo3(signature = (pattern, /))]
    fn new(py: Python<'_>, pattern: &str) -> PyResult<Self> {
        py.detach(|| Pattern::new(pattern)).map(Self).map_err(PyValueError::new_err)
    }

    /// Whether it is found anywhere in `data`.
    #[pyo3(signature = (data, /))]
    fn matches(&self, data: &[u8]) -> bool {
        self.0.matches(data)
    }
}

#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::{Engine, EngineError, FileWrapper, LinePattern, RequestBody, catalogue, check_pattern, inspect_bytes};

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        use pyo3::prelude::*;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
