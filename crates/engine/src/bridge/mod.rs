//! From a parsed request to the app and back (PEP 3333). Only here and in `boundary.rs` is Python touched.
//!
//! Strategy: the interpreter's lock is held while the environ is made, the app runs and its iterable gives pieces;
//! every write that may wait and every read of a spooled file lets go of it. A small piece of a stream is sent with it, if
//! that can not wait: giving the lock back and taking it again would cost as much as others wait for it meanwhile. A body of one small piece is copied behind
//! its head and sent after the lock has been given back.

mod environ;
mod iterate;
mod mounted;

use pyo3::exceptions::{PyConnectionError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::string::PyStringData;
use pyo3::types::{PyList, PyString, PyTuple};
use std::ffi::c_long;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

pub use environ::Environs;
use mounted::Mounted;

use crate::boundary::Callbacks;
use crate::exchange::Exchange;
use crate::plan::WorkerPlan;
use crate::response::{BadHead, Progress, Response};
use crate::socket::Gone;
use crate::sys;
use crate::worker::{App, AppThread, Calls, Duty, Shared};

/// The WSGI app of a worker.
pub struct WsgiApp {
    /// None where a request that is for none of the mounted apps is for nobody.
    callable: Option<Py<PyAny>>,
    /// Other apps beside that one, if there are any.
    mounted: Option<Mounted>,
    /// What is told of each exception, and may give a text to answer with.
    failed: Option<Py<PyAny>>,
    lookout: Option<Lookout>,
    environs: Environs,
    /// One for each app thread, which alone locks it.
    threads: Vec<Mutex<ThreadState>>,
    responses: Arc<Responses>,
}

/// Where the response of each app thread is, for what an app asks about the request that it answers.
pub struct Responses(Vec<Mutex<Option<Arc<ResponseSlot>>>>);

impl Responses {
    fn put(&self, thread: usize, slot: &Arc<ResponseSlot>) {
        *self.0[thread].lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(slot));
    }

    /// The descriptor of the connection that app thread `thread` answers to; None if it answers to none.
    pub fn connection_fd(&self, py: Python<'_>, thread: usize) -> Option<RawFd> {
        let slot = self.0.get(thread)?.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        slot.acquire(py).as_ref().map(Response::connection_fd)
    }

    /// Ends the response of an app thread that had its time; None if it is being written, or there is none.
    fn conclude(&self, thread: usize) -> Option<Progress> {
        let slot = self.0.get(thread)?.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let mut response = match slot.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        response.as_mut().map(Response::conclude)
    }
}

/// What Python has for requests that take too long.
pub struct Lookout {
    /// The class of what is raised in an interrupted call.
    pub interruption: Py<PyAny>,
    /// Returns a text about where every thread is.
    pub describe: Py<PyAny>,
}

/// What an app thread keeps of Python between requests.
struct ThreadState {
    kept: environ::Kept,
    callbacks: Option<Callbacks>,
}

/// What a call of the app came to.
struct Outcome {
    response: Option<Response>,
    /// It raised an exception.
    failed: bool,
    /// There is no app for the path.
    is_for_nobody: bool,
    /// What the client is told of it, if not the usual.
    text: Option<String>,
}

impl WsgiApp {
    /// `callable` answers what none of `mounts` is for.
    pub fn new(
        py: Python<'_>,
        plan: &WorkerPlan,
        callable: Option<Py<PyAny>>,
        mounts: Vec<(String, Py<PyAny>)>,
        failed: Option<Py<PyAny>>,
        lookout: Option<Lookout>,
    ) -> PyResult<Self> {
        let mounted = (!mounts.is_empty()).then(|| Mounted::new(py, plan, mounts));
        let state = || {
            let kept = environ::Kept::new(plan.engine.underscores_in_headers);
            Mutex::new(ThreadState { kept, callbacks: None })
        };
        let threads = std::iter::repeat_with(state).take(plan.engine.threads).collect();
        let responses = Responses(std::iter::repeat_with(Mutex::default).take(plan.engine.threads).collect());
        let responses = Arc::new(responses);
        Ok(Self { callable, mounted, failed, lookout, environs: Environs::new(py, plan)?, threads, responses })
    }

    pub fn responses(&self) -> Arc<Responses> {
        Arc::clone(&self.responses)
    }

    /// Runs the app, if there is one for the path; the error is what it raised, if it did.
    fn call(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange,
        shared: &Shared,
        thread: usize,
        kept: &mut environ::Kept,
        callbacks: &Callbacks,
    ) -> PyResult<bool> {
        let (environ, vars) = self.environs.make(py, exchange, shared, thread, kept)?;
        exchange.report.vars = vars;
        let watched = shared.is_watched().then(|| shared.duty(thread));
        if let Some(duty) = watched {
            duty.tell_vars(vars);
        }
        let mounted = match &self.mounted {
            None => None,
            Some(mounted) => mounted.choose(py, &shared.mounts, exchange, &environ)?,
        };
        if let Some(duty) = watched {
            duty.tell_app(exchange.report.app);
        }
        let Some(callable) = mounted.or(self.callable.as_ref()) else { return Ok(false) };
        let result = callable.bind(py).call1((environ, &callbacks.start_response));
        if shared.is_forked() {
            end_child(py, result.err());
        }
        let sent = result.and_then(|result| iterate::send(py, &result, &callbacks.slot));
        if shared.is_forked() {
            end_child(py, sent.err());
        }
        sent.map(|()| true)
    }

    /// Lets the server's own Python code know of an exception; returns the text that it wants the client to have.
    fn tell_of(&self, py: Python<'_>, error: &PyErr) -> Option<String> {
        let told = self.failed.as_ref()?.bind(py).call1((error.value(py),));
        told.and_then(|text| text.extract()).unwrap_or_else(|error: PyErr| {
            error.display(py);
            None
        })
    }

    /// Runs the app with `response` in the callbacks' slot.
    fn respond(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange,
        shared: &Shared,
        thread: usize,
        response: Response,
    ) -> PyResult<Outcome> {
        let duty = shared.duty(thread);
        if !duty.enter() {
            // It waited for the interpreter's lock for longer than it may take.
            return Ok(Outcome { response: Some(response), failed: false, is_for_nobody: false, text: None });
        }
        let mut state = self.threads[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let ThreadState { kept, callbacks } = &mut *state;
        if callbacks.as_ref().is_none_or(|callbacks| callbacks.are_kept(py)) {
            let made = Callbacks::new(py)?;
            self.responses.put(thread, &made.slot);
            *callbacks = Some(made);
        }
        let Some(callbacks) = callbacks else {
            return Ok(Outcome { response: Some(response), failed: true, is_for_nobody: false, text: None });
        };
        *callbacks.slot.acquire(py) = Some(response);
        let called = self.call(py, exchange, shared, thread, kept, callbacks);
        if duty.leave() {
            forget_interruption(duty);
        }
        // The slot is emptied, so that a `write` or `start_response` that the app kept can do no harm later.
        let response = callbacks.slot.acquire(py).take();
        // `write` has told the app that its client left; an app that lets that pass by has done nothing wrong.
        let client_gone = response.as_ref().is_some_and(|response| response.gone().is_some_and(Gone::is_of_client));
        let mut text = None;
        if let Err(error) = &called
            && duty.is_detached()
            && (self.is_interruption(py, error) || error.is_instance_of::<PyConnectionError>(py))
        {
            shared.note(&format!(
                "the app has ended {} {}, which had taken too long",
                exchange.method().escape_ascii(),
                exchange.uri().escape_ascii()
            ));
        } else if let Err(error) = &called
            && !(client_gone && error.is_instance_of::<PyConnectionError>(py))
        {
            shared.note(&format!(
                "the app raised an exception on {} {}{}",
                exchange.method().escape_ascii(),
                exchange.uri().escape_ascii(),
                shared.request_ids.as_ref().map_or_else(String::new, |ids| ids.in_words(exchange))
            ));
            shared.flush_log();
            // Not `print`: that would end the process for SystemExit.
            error.display(py);
            text = self.tell_of(py, error);
        }
        Ok(Outcome { response, failed: called.is_err(), is_for_nobody: matches!(called, Ok(false)), text })
    }
}

impl WsgiApp {
    fn is_interruption(&self, py: Python<'_>, error: &PyErr) -> bool {
        self.lookout.as_ref().is_some_and(|lookout| error.is_instance(py, lookout.interruption.bind(py)))
    }
}

/// What was raised in a call that has ended must not hit the next one.
fn forget_interruption(duty: &Duty) {
    let Some(thread) = duty.thread() else { return };
    // SAFETY: the interpreter's lock is held, and no exception is given.
    unsafe { pyo3::ffi::PyThreadState_SetAsyncExc(thread.id.number() as c_long, std::ptr::null_mut()) };
}

/// Raises in a call on another thread than the main one. Nothing happens if it has left the app.
fn interrupt(duty: &Duty, call: u64, interruption: &Bound<'_, PyAny>) {
    let Some(thread) = duty.thread() else { return };
    if duty.interrupt(call) {
        // SAFETY: the interpreter's lock is held as `Bound` shows, and the object is alive; the call takes a reference.
        unsafe { pyo3::ffi::PyThreadState_SetAsyncExc(thread.id.number() as c_long, interruption.as_ptr()) };
    }
}

impl App for WsgiApp {
    fn serve(&self, exchange: &mut Exchange, thread: &mut AppThread, shared: &Shared) {
        let date = thread.date.at(thread.begun_epoch_us / 1_000_000);
        let protocol = shared.plan.listeners[exchange.listener].protocol;
        let mut response = Response::new(
            Arc::clone(&exchange.socket),
            shared.policy,
            exchange.framing(protocol),
            date,
            std::mem::take(&mut thread.scratch),
        )
        .under(&shared.response_options);
        exchange.hand_edits_to(&mut response);
        let answered = Python::attach(|py| {
            self.respond(py, exchange, shared, thread.index, response).unwrap_or_else(|error| {
                // Only memory that is out keeps the callbacks from being made; the response went with the attempt.
                error.display(py);
                Outcome { response: None, failed: true, is_for_nobody: false, text: None }
            })
        });
        let Outcome { response: Some(mut response), failed, is_for_nobody, text } = answered else { return };
        let mut broken_off = failed;
        // What the server itself says is read and sent without the interpreter's lock.
        if !shared.duty(thread.index).keep() {
            // Nobody waits for it.
        } else if is_for_nobody {
            response.not_found();
        } else if (failed || !response.is_headed()) && !response.is_sent() && response.gone().is_none() {
            response.replace_with_error(text.as_deref());
            broken_off = false;
        }
        let fault = response.length_fault();
        thread.scratch = exchange.take_report(response, broken_off);
        exchange.report.app_failed = failed && !exchange.report.client_gone;
        if let Some(fault) = fault.filter(|_| !failed) {
            shared.note(&format!("{} {}: {fault}", exchange.method().escape_ascii(), exchange.uri().escape_ascii()));
        }
    }

    fn conclude(&self, thread: usize) -> Option<Progress> {
        self.responses.conclude(thread)
    }

    fn look(&self, calls: &Calls, shared: &Shared) -> String {
        let Some(lookout) = &self.lookout else { return String::new() };
        Python::attach(|py| {
            let described = lookout.describe.bind(py).call0().and_then(|text| text.extract::<String>());
            for (thread, call) in calls {
                match thread {
                    // Only there, a call of C that waits is woken too.
                    0 => shared.interrupt_main(*call),
                    _ => interrupt(shared.duty(*thread), *call, lookout.interruption.bind(py)),
                }
            }
            described.unwrap_or_else(|error| {
                error.display(py);
                "the stacks of the threads could not be had".to_owned()
            })
        })
    }
}

/// A response that the app's callbacks and the thread that runs the app share; empty when the request is over.
#[derive(Default)]
pub struct ResponseSlot(Mutex<Option<Response>>);

impl ResponseSlot {
    pub fn lock(&self) -> MutexGuard<'_, Option<Response>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As `lock`, for a caller that has the interpreter's lock: it is given back while another thread sends.
    pub fn acquire(&self, py: Python<'_>) -> MutexGuard<'_, Option<Response>> {
        loop {
            match self.0.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
                Err(TryLockError::WouldBlock) => py.detach(|| drop(self.lock())),
            }
        }
    }

    /// `start_response(status, headers, exc_info=None)` of PEP 3333.
    pub fn start(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let exc_info = exc_info.filter(|value| !value.is_none());
        let mut guard = self.acquire(py);
        let Some(response) = guard.as_mut() else {
            return Err(PyValueError::new_err("start_response was called after the end of its request"));
        };
        if let Some(exc_info) = exc_info
            && response.is_sent()
        {
            drop(guard);
            let value = exc_info.get_item(1)?;
            return Err(PyErr::from_value(value));
        }
        let status = text_bytes(status, "the status")?;
        response.start(status, exc_info.is_some()).map_err(bad_head)?;
        let result = take_headers(response, headers);
        if result.is_err() {
            response.reopen();
        }
        result
    }

    /// `write(data)` of PEP 3333.
    pub fn write(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let quick = self.acquire(py).as_mut().and_then(|response| match data {
            [] => Some(response.gone().map_or(Ok(()), Err)),
            data => response.quick_piece(data),
        });
        let result = quick.unwrap_or_else(|| {
            py.detach(|| self.lock().as_mut().map_or(Err(Gone::Disconnected), |response| response.piece(data)))
        });
        result.map_err(|gone| {
            PyConnectionError::new_err(match gone {
                Gone::Disconnected => "write error: the client is gone",
                Gone::Stalled => "write error: the client took nothing for too long",
                Gone::Truncated => "write error: a file became shorter while it was sent",
                Gone::Detached => "write error: the request took too long, and its client was answered without the app",
            })
        })
    }
}

fn bad_head(error: BadHead) -> PyErr {
    match error {
        BadHead::AlreadyStarted | BadHead::AlreadySent => pyo3::exceptions::PyAssertionError::new_err(error.message()),
        BadHead::Status(text) | BadHead::Header(text) => PyValueError::new_err(text),
    }
}

fn take_headers(response: &mut Response, headers: &Bound<'_, PyAny>) -> PyResult<()> {
    let headers = headers.cast::<PyList>().map_err(|_| {
        PyTypeError::new_err(format!("the headers must be a list of (name, value) tuples, not {}", type_name(headers)))
    })?;
    for item in headers.iter() {
        let pair = item.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2).ok_or_else(|| {
            PyTypeError::new_err(format!("a header must be a (name, value) tuple, not {}", type_name(&item)))
        })?;
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        response
            .header(text_bytes(&name, "a header's name")?, text_bytes(&value, "a header's value")?)
            .map_err(bad_head)?;
    }
    Ok(())
}

/// The bytes of a native string that holds latin-1 characters only (PEP 3333, "A Note on String Types").
fn text_bytes<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a [u8]> {
    let text = value
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("{what} must be str, not {}", type_name(value))))?;
    // SAFETY: a str that Python code can have is complete, and never changes; its bytes live as long as it does.
    match unsafe { text.data()? } {
        // A str is kept in the narrowest form that holds it: this one has latin-1 characters, one a byte.
        PyStringData::Ucs1(bytes) => Ok(bytes),
        PyStringData::Ucs2(_) | PyStringData::Ucs4(_) => Err(PyValueError::new_err(format!(
            "{what} has characters outside of latin-1: {:?} (PEP 3333); encode them first",
            text.to_string_lossy()
        ))),
    }
}

pub fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}

/// Calls `close` of what the app returned, if it has one; its exception is the caller's to log.
fn close(py: Python<'_>, result: &Bound<'_, PyAny>) -> PyResult<()> {
    match result.getattr_opt(intern!(py, "close"))? {
        Some(method) => method.call0().map(drop),
        None => Ok(()),
    }
}

/// Ends a child that the app forked and that came back here: the request, the event loop and the descriptors belong to
/// its parent. The status is what Python would end with.
fn end_child(py: Python<'_>, error: Option<PyErr>) -> ! {
    let status = match error {
        None => 0,
        Some(error) if error.is_instance_of::<pyo3::exceptions::PySystemExit>(py) => {
            match error.value(py).getattr("code") {
                Ok(code) if code.is_none() => 0,
                Ok(code) => code.extract::<i32>().unwrap_or(1),
                Err(_) => 1,
            }
        }
        Some(error) => {
            error.display(py);
            1
        }
    };
    for name in ["stdout", "stderr"] {
        let _ = py.import("sys").and_then(|sys| sys.getattr(name)).and_then(|stream| stream.call_method0("flush"));
    }
    sys::exit_now(status)
}
