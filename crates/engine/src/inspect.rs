//! `inspect()`: the parsers as tests and the doctor see them. Nothing is served.

use std::collections::HashMap;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use wire::http1::{self, Chunked, Framing};
use wire::{Error, Limits, Span, Step, proxy, uwsgi};

pub fn inspect<'py>(
    py: Python<'py>,
    protocol: &str,
    data: &[u8],
    limits: &HashMap<String, u64>,
) -> PyResult<Bound<'py, PyDict>> {
    let limits = limits_of(limits)?;
    let result = PyDict::new(py);
    match protocol {
        "http" => match http1::parse_head(data, &limits) {
            Ok(Step::Done(head, used)) => {
                done(&result, used)?;
                describe_head(&result, &head, data)?;
            }
            Ok(Step::NeedMore) => result.set_item("step", "need-more")?,
            Err(error) => refused(&result, error)?,
        },
        "uwsgi" => match uwsgi::parse_packet(data, &limits) {
            Ok(Step::Done(packet, used)) => {
                done(&result, used)?;
                result.set_item("modifier1", packet.modifier1)?;
                result.set_item("modifier2", packet.modifier2)?;
                result.set_item("content_length", packet.content_length)?;
                result.set_item("vars", pairs(py, data, packet.vars.iter().copied())?)?;
            }
            Ok(Step::NeedMore) => result.set_item("step", "need-more")?,
            Err(error) => refused(&result, error)?,
        },
        "chunked" => {
            let mut body = Vec::new();
            match Chunked::default().decode(data, &mut body, &limits) {
                Ok(Step::Done((), used)) => {
                    done(&result, used)?;
                    result.set_item("body", PyBytes::new(py, &body))?;
                }
                Ok(Step::NeedMore) => result.set_item("step", "need-more")?,
                Err(error) => refused(&result, error)?,
            }
        }
        "proxy" => match proxy::parse(data) {
            Ok(Step::Done(header, used)) => {
                done(&result, used)?;
                let client = match header {
                    proxy::Header::Client(client) => Some(client.to_string()),
                    proxy::Header::Absent | proxy::Header::Unknown => None,
                };
                result.set_item("client", client)?;
            }
            Ok(Step::NeedMore) => result.set_item("step", "need-more")?,
            Err(error) => refused(&result, error)?,
        },
        other => {
            return Err(PyValueError::new_err(format!(
                "unknown protocol {other:?}: expected http, uwsgi, chunked or proxy"
            )));
        }
    }
    Ok(result)
}

fn limits_of(given: &HashMap<String, u64>) -> PyResult<Limits> {
    let mut limits = Limits::default();
    for (name, value) in given {
        let size = usize::try_from(*value).unwrap_or(usize::MAX);
        match name.as_str() {
            "head_bytes" => limits.head_bytes = size,
            "header_count" => limits.header_count = size,
            "body_bytes" => limits.body_bytes = *value,
            "chunk_extension_bytes" => limits.chunk_extension_bytes = size,
            "chunk_overhead_bytes" => limits.chunk_overhead_bytes = *value,
            "trailer_bytes" => limits.trailer_bytes = size,
            other => return Err(PyValueError::new_err(format!("unknown limit {other:?}"))),
        }
    }
    Ok(limits)
}

fn done(result: &Bound<'_, PyDict>, used: usize) -> PyResult<()> {
    result.set_item("step", "done")?;
    result.set_item("used", used)
}

fn refused(result: &Bound<'_, PyDict>, error: Error) -> PyResult<()> {
    result.set_item("step", "error")?;
    result.set_item("code", error.code())?;
    result.set_item("status", error.status())?;
    result.set_item("fault", error.fault().name())
}

fn describe_head(result: &Bound<'_, PyDict>, head: &http1::Head, data: &[u8]) -> PyResult<()> {
    let py = result.py();
    let method = head.method.of(data);
    result.set_item("method", PyBytes::new(py, method))?;
    result.set_item("target", PyBytes::new(py, head.target.of(data)))?;
    result.set_item("version", head.version.name())?;
    result.set_item("keep_alive", head.keep_alive)?;
    result.set_item("expect_continue", head.expect_continue)?;
    let (framing, length) = match head.framing {
        Framing::None => ("none", None),
        Framing::Length(length) => ("length", Some(length)),
        Framing::Chunked => ("chunked", None),
    };
    result.set_item("framing", framing)?;
    result.set_item("length", length)?;
    result.set_item("headers", pairs(py, data, head.headers.iter().map(|header| (header.name, header.value)))?)?;
    match http1::parse_target(method, head.target.of(data)) {
        Ok(target) => {
            result.set_item("path", PyBytes::new(py, &target.path))?;
            result.set_item("query", PyBytes::new(py, target.query))
        }
        Err(error) => refused(result, error),
    }
}

fn pairs<'py>(py: Python<'py>, data: &[u8], spans: impl Iterator<Item = (Span, Span)>) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (name, value) in spans {
        list.append((PyBytes::new(py, name.of(data)), PyBytes::new(py, value.of(data))))?;
    }
    Ok(list)
}
