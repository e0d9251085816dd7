//! What rules change of a response's headers; done when the head is complete and nothing of it has left.

use std::sync::Arc;

use super::{Routed, Router, Snapshot};

/// Headers to add and to leave out.
#[derive(Debug, Default)]
pub struct Edits {
    added: Vec<(Box<[u8]>, Vec<u8>)>,
    dropped: Vec<Box<[u8]>>,
    /// The rules about responses, and what they look at beside the status.
    pub(super) later: Option<(Arc<Router>, Snapshot)>,
    /// What those rules said, for whoever has the log.
    pub lines: Vec<Vec<u8>>,
    pub complaints: Vec<String>,
    pub is_unlogged: bool,
}

/// The headers of one response, in the end.
#[derive(Debug, Default)]
pub struct HeaderChanges {
    pub added: Vec<(Box<[u8]>, Vec<u8>)>,
    pub dropped: Vec<Box<[u8]>>,
}

impl Edits {
    /// The header is valid.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        self.added.push((name.into(), value.to_vec()));
    }

    pub fn leave_out(&mut self, name: &[u8]) {
        self.dropped.push(name.into());
    }

    /// What is to be changed of a response with this status. Asked again for one that takes its place.
    pub fn of(&mut self, status: u16) -> HeaderChanges {
        let mut changes = HeaderChanges { added: self.added.clone(), dropped: self.dropped.clone() };
        if let Some((router, snapshot)) = &self.later {
            let mut routed = Routed::default();
            router.apply(&router.response, snapshot, status, &mut routed);
            self.lines = routed.lines;
            self.complaints = routed.complaints;
            self.is_unlogged = routed.is_unlogged;
            if let Some(edits) = routed.edits {
                changes.added.extend(edits.added);
                changes.dropped.extend(edits.dropped);
            }
        }
        changes
    }
}
