//! The connections of a worker, by key. A key names a slot and the generation of its use, so that an event of a
//! connection that is gone finds nobody. Whoever takes a connection out puts it back, or ends it.

use super::{EventLoop, GENERATION_SHIFT, Slot};
use crate::connection::Connection;
use crate::poller::Poller;
use crate::socket::Gone;
use crate::sys;
use crate::worker::Shared;

impl EventLoop {
    pub(super) fn insert(&mut self, shared: &Shared, make: impl FnOnce(u64) -> Connection) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1).max(1);
        let key = u64::from(slot.generation) << GENERATION_SHIFT | u64::from(index);
        let connection = Box::new(make(key));
        connection.socket.set_key(key);
        slot.connection = Some(connection);
        self.open += 1;
        shared.board_connections(self.open);
        key
    }

    pub(super) fn slot(&mut self, key: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut((key & 0xffff_ffff) as usize)?;
        (u64::from(slot.generation) == key >> GENERATION_SHIFT).then_some(slot)
    }

    pub(super) fn connection(&mut self, key: u64) -> Option<&mut Connection> {
        self.slot(key)?.connection.as_deref_mut()
    }

    pub(super) fn take(&mut self, key: u64) -> Option<Box<Connection>> {
        self.slot(key)?.connection.take()
    }

    pub(super) fn put_back(&mut self, connection: Box<Connection>) {
        if let Some(slot) = self.slot(connection.key) {
            slot.connection = Some(connection);
        }
    }

    /// Ends a connection that is in the slab.
    pub(super) fn close(&mut self, shared: &Shared, key: u64) {
        if let Some(connection) = self.take(key) {
            self.discard(shared, connection);
        }
    }

    /// Ends a connection that was taken from the slab.
    pub(super) fn discard(&mut self, shared: &Shared, connection: Box<Connection>) {
        connection.socket.release_held();
        if connection.is_detached {
            // Its descriptor stays open until the app comes back, which may be never.
            self.poller.remove(connection.socket.fd());
            sys::shutdown(connection.socket.fd());
        } else if shared.has_children() {
            // They may have inherited the descriptor: then closing ours would not end the connection.
            sys::shutdown_write(connection.socket.fd());
        }
        self.release(shared, connection);
    }

    /// Forgets a connection that was taken from the slab; it may live on elsewhere.
    #[expect(clippy::boxed_local, reason = "the slab's box is what ends here")]
    pub(super) fn release(&mut self, shared: &Shared, connection: Box<Connection>) {
        connection.socket.abandon(Gone::Disconnected);
        self.free.push((connection.key & 0xffff_ffff) as u32);
        if let Some(slot) = self.slot(connection.key) {
            slot.generation = slot.generation.wrapping_add(1).max(1);
        }
        self.open -= 1;
        shared.board_connections(self.open);
    }
}
