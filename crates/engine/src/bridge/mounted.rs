//! Several apps of one worker: the one that a request is for, and the environ as that app expects it (PEP 3333).

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::environ::latin1;
use crate::exchange::Exchange;
use crate::mounts::{Chosen, Mounts};
use crate::plan::WorkerPlan;

pub struct Mounted {
    mounts: Mounts,
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
        let points = apps.iter().map(|(point, _)| point.clone().into_bytes()).collect();
        let apps = apps
            .into_iter()
            .map(|(point, callable)| MountedApp {
                callable,
                script_name: latin1(py, point.as_bytes()).unbind(),
                point_bytes: point.len(),
            })
            .collect();
        Self {
            mounts: Mounts::new(points, mounting.by_path, mounting.by_script_name),
            apps,
            first_id: mounting.first_id,
            fallback_id: mounting.fallback_id,
        }
    }

    /// The app that the request is for, if it is one of the mounted; its SCRIPT_NAME and PATH_INFO are set.
    pub fn choose(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<Option<&Py<PyAny>>> {
        let place = match self.mounts.choose(exchange.path(), exchange.var(b"SCRIPT_NAME")) {
            Chosen::Nobody => {
                exchange.report.app = self.fallback_id;
                return Ok(None);
            }
            Chosen::ByScriptName(place) => place,
            Chosen::ByPath(place) => {
                let app = &self.apps[place];
                let rest = latin1(py, &exchange.path()[app.point_bytes..]);
                environ.set_item(intern!(py, "SCRIPT_NAME"), &app.script_name)?;
                environ.set_item(intern!(py, "PATH_INFO"), rest)?;
                place
            }
        };
        // The number of mounts is bounded by what a person writes.
        exchange.report.app = self.first_id + i32::try_from(place).unwrap_or(i32::MAX - self.first_id);
        Ok(Some(&self.apps[place].callable))
    }
}
