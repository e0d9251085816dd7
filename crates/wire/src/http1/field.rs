//! What heads and trailers share about field lines (RFC 9112 5), so that both refuse the same things by the same names.

use crate::Error;

/// Why `b` can not stand where a header's name (a token) was expected. `first`: it is the line's first byte.
/// CR is not decided here: whether it is bare depends on the next byte.
#[cold]
pub(super) fn bad_name_byte(b: u8, first: bool) -> Error {
    match b {
        0 => Error::Nul,
        b'\n' => Error::BareLf,
        b' ' | b'\t' if first => Error::ObsFold,
        b' ' | b'\t' => Error::SpaceInHeaderName,
        b':' if first => Error::EmptyHeaderName,
        _ => Error::BadHeaderName,
    }
}

/// Why `b` (not CR) can not stand in a header's value.
#[cold]
pub(super) fn bad_value_byte(b: u8) -> Error {
    match b {
        0 => Error::Nul,
        b'\n' => Error::BareLf,
        _ => Error::ControlInHeader,
    }
}
