//! What the app returned becomes the body: lists at once, other iterables piece by piece, files by the kernel.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::{ResponseSlot, close, type_name};
use crate::boundary::FileWrapper;
use crate::response::Response;
use crate::socket::{Gone, SHARE_BYTES, SharedBytes};

/// Sends the result of the app and closes it, also when something fails on the way.
pub fn send(py: Python<'_>, result: &Bound<'_, PyAny>, slot: &ResponseSlot) -> PyResult<()> {
    if let Ok(list) = result.cast_exact::<PyList>() {
        if list.len() == 1 && take_whole(py, &list.get_item(0)?, slot)? {
            return Ok(());
        }
        return send_all(py, list.iter(), slot);
    }
    if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        return send_all(py, tuple.iter(), slot);
    }
    if let Ok(bytes) = result.cast_exact::<PyBytes>() {
        return send_all(py, std::iter::once(bytes.clone().into_any()), slot);
    }
    let sent = match result.cast::<FileWrapper>() {
        Ok(wrapper) => send_file(py, wrapper, slot),
        Err(_) => send_pieces(py, result, slot),
    };
    let closed = close(py, result);
    // What `close` raises does not undo a response that is complete: it is shown, and that is all.
    if let Err(error) = closed {
        error.display(py);
    }
    sent
}

fn bytes_of<'a, 'py>(item: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    item.cast::<PyBytes>().map_err(|_| {
        PyTypeError::new_err(format!("the body must be made of bytes, not {} (encode it first)", type_name(item)))
    })
}

fn not_started() -> PyErr {
    PyRuntimeError::new_err("the app returned a body but did not call start_response (PEP 3333)")
}

/// Takes the only piece of a body, if it is a small one.
fn take_whole(py: Python<'_>, item: &Bound<'_, PyAny>, slot: &ResponseSlot) -> PyResult<bool> {
    let piece = bytes_of(item)?.as_bytes();
    let mut guard = slot.acquire(py);
    let Some(response) = guard.as_mut() else { return Ok(true) };
    if !response.is_headed() {
        return Err(not_started());
    }
    Ok(response.whole(&[piece]))
}

/// A body whose pieces are all there: its length is known.
fn send_all<'py>(py: Python<'py>, items: impl Iterator<Item = Bound<'py, PyAny>>, slot: &ResponseSlot) -> PyResult<()> {
    let items: Vec<Bound<'py, PyAny>> = items.collect();
    let mut pieces = Vec::with_capacity(items.len());
    for item in &items {
        pieces.push(bytes_of(item)?.as_bytes());
    }
    {
        let mut guard = slot.acquire(py);
        let Some(response) = guard.as_mut() else { return Ok(()) };
        if !response.is_headed() {
            return Err(not_started());
        }
        if response.whole(&pieces) {
            return Ok(());
        }
    }
    let pieces: Vec<Piece<'_>> = items.iter().filter_map(|item| item.cast::<PyBytes>().ok()).map(Piece::of).collect();
    py.detach(|| {
        let mut guard = slot.lock();
        let Some(response) = guard.as_mut() else { return };
        // The client being gone is no failure of the app.
        let _ = pieces.iter().try_for_each(|piece| piece.send(response));
    });
    Ok(())
}

/// A piece that can be sent without the interpreter's lock.
enum Piece<'a> {
    Small(&'a [u8]),
    /// Holds a reference, so that what is unsent need not be copied. PyO3 releases it with the next call of the app if
    /// the event loop is the last to drop it.
    Large(SharedBytes),
}

impl<'a> Piece<'a> {
    fn of(bytes: &'a Bound<'_, PyBytes>) -> Self {
        match bytes.as_bytes() {
            small if small.len() < SHARE_BYTES => Self::Small(small),
            _ => Self::Large(Arc::new(PyBackedBytes::from(bytes.clone()))),
        }
    }

    fn send(&self, response: &mut Response) -> Result<(), Gone> {
        match self {
            Self::Small([]) => Ok(()),
            Self::Small(bytes) => response.piece(bytes),
            Self::Large(bytes) => response.shared_piece(bytes),
        }
    }
}

/// A body that is made while it is sent: each piece leaves before the next one is asked for.
fn send_pieces(py: Python<'_>, result: &Bound<'_, PyAny>, slot: &ResponseSlot) -> PyResult<()> {
    let mut iterator = result.try_iter().map_err(|_| {
        PyTypeError::new_err(format!("the app must return an iterable of bytes, not {}", type_name(result)))
    })?;
    loop {
        let Some(item) = iterator.next() else { break };
        let item = item?;
        let bytes = bytes_of(&item)?;
        if bytes.as_bytes().is_empty() {
            continue;
        }
        let wants_more = match quick_piece(py, bytes.as_bytes(), slot)? {
            Some(wants_more) => wants_more,
            None => {
                let piece = Piece::of(bytes);
                py.detach(|| {
                    let mut guard = slot.lock();
                    let Some(response) = guard.as_mut() else { return false };
                    piece.send(response).is_ok() && response.wants_body()
                })
            }
        };
        if !wants_more {
            return Ok(());
        }
    }
    match slot.acquire(py).as_mut() {
        Some(response) if !response.is_headed() => Err(not_started()),
        Some(response) => {
            response.exhaust();
            Ok(())
        }
        None => Ok(()),
    }
}

/// Sends a small piece at once, if that can not wait; tells then whether the response wants more.
fn quick_piece(py: Python<'_>, piece: &[u8], slot: &ResponseSlot) -> PyResult<Option<bool>> {
    let mut guard = slot.acquire(py);
    let Some(response) = guard.as_mut() else { return Ok(Some(false)) };
    if !response.is_headed() {
        return Err(not_started());
    }
    Ok(response.quick_piece(piece).map(|sent| sent.is_ok() && response.wants_body()))
}

/// `wsgi.file_wrapper`: the kernel sends a real file; anything else is read block by block.
fn send_file(py: Python<'_>, wrapper: &Bound<'_, FileWrapper>, slot: &ResponseSlot) -> PyResult<()> {
    if let Some(part) = wrapper.get().part(py)? {
        let sent = py.detach(|| {
            let mut guard = slot.lock();
            match guard.as_mut() {
                Some(response) if response.can_send_file() => {
                    let _ = response.file(part.file, part.offset, part.length);
                    true
                }
                Some(response) => !response.is_headed(),
                None => true,
            }
        });
        let headed = slot.acquire(py).as_ref().is_none_or(crate::response::Response::is_headed);
        if !headed {
            return Err(not_started());
        }
        if sent {
            return Ok(());
        }
    }
    send_pieces(py, wrapper.as_any(), slot)
}
