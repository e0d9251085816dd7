//! Several apps of one worker: the one that a request is for, and the environ as that app expects it (PEP 3333).

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::environ::latin1;
use crate::exchange::Exchange;
use crate::mounts::{Chosen, Mounts};
use crate::plan::WorkerPlan;

pub struct Mounted {
    apps: Vec<MountedApp>,
    first_id: i32,
    fallback_id: i32,
}

struct MountedApp {
    callable: Py<PyAny>,
    /// The mountpoint, which is the app's SCRIPT_NAME.
    script_name: Py<PyString>,
    point_bytes: usize,
}

impl Mounted {
    pub fn new(py: Python<'_>, plan: &WorkerPlan, apps: Vec<(String, Py<PyAny>)>) -> Self {
        let mounting = &plan.engine.mounting;
        let apps = apps
            .into_iter()
            .map(|(point, callable)| MountedApp {
                callable,
                script_name: latin1(py, point.as_bytes()).unbind(),
                point_bytes: point.len(),
            })
            .collect();
        Self { apps, first_id: mounting.first_id, fallback_id: mounting.fallback_id }
    }

    /// The app that the request is for, if it is one of the mounted; its SCRIPT_NAME and PATH_INFO are set. Rules change
    /// what it is told of its path, and may name another app as SCRIPT_NAME; the path chooses as the client sent it.
    pub fn choose(
        &self,
        py: Python<'_>,
        mounts: &Mounts,
        exchange: &mut Exchange,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<Option<&Py<PyAny>>> {
        let path = exchange.path();
        let mut chosen = mounts.choose(path, exchange.var(b"SCRIPT_NAME"));
        if let Chosen::ByPath(place) = chosen
            && let Some(app) = self.apps.get(place)
        {
            if exchange.changed(b"SCRIPT_NAME").is_none() {
                environ.set_item(intern!(py, "SCRIPT_NAME"), &app.script_name)?;
            }
            if exchange.changed(b"PATH_INFO").is_none() {
                environ.set_item(intern!(py, "PATH_INFO"), latin1(py, &path[app.point_bytes..]))?;
            }
        }
        if let Some(script_name) = exchange.changed(b"SCRIPT_NAME") {
            chosen = mounts.choose(b"", script_name);
        }
        let place = match chosen {
            Chosen::ByPath(place) | Chosen::ByScriptName(place) => place,
            Chosen::Nobody => usize::MAX,
        };
        let Some(app) = self.apps.get(place) else {
            exchange.report.app = self.fallback_id;
            return Ok(None);
        };
        // The number of mounts is bounded by what a person writes.
        exchange.report.app = self.first_id + i32::try_from(place).unwrap_or(i32::MAX - self.first_id);
        Ok(Some(&app.callable))
    }
}
