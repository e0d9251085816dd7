//! What must hold for any input whatever. The mutation test and the fuzzers feed them; each panics when it does not.

#![allow(dead_code)] // Each fuzzer that includes this file uses its own part of it.

use super::deliveries::{read_chunked, read_head};
use wire::http1::{self, Framing, Underscores, Version};
use wire::{Limits, Step, detect, forwarded, proxy, response, uwsgi};

fn is_token(bytes: &[u8]) -> bool {
    const SPECIAL: &[u8] = b"!#$%&'*+-.^_`|~";
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || SPECIAL.contains(b))
}

fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f)
}

/// Two arrivals, cut where `seed` says.
fn cut(len: usize, seed: usize) -> Vec<usize> {
    if len < 2 { vec![len] } else { vec![1 + seed % (len - 1), len] }
}

/// A head is accepted or refused the same way however it arrives; what is accepted is unambiguous, and written down canonically it
/// means the same.
pub fn http1_head(bytes: &[u8], seed: usize, limits: &Limits) {
    let _ = detect::guess(bytes);
    let whole = http1::parse_head(bytes, limits);
    let delivered = read_head(bytes, &cut(bytes.len(), seed), limits);
    match (&whole, &delivered) {
        // A scan sees line ends only; what is wrong within lines waits until the head is complete.
        (Err(_), Ok(Step::NeedMore)) => return,
        _ => assert_eq!(whole, delivered),
    }
    let Ok(Step::Done(head, used)) = whole else {
        return;
    };
    assert!(used <= bytes.len() && used <= limits.head_bytes && bytes[..used].ends_with(b"\r\n\r\n"));
    assert!(head.headers.len() <= limits.header_count);
    assert!(is_token(head.method.of(bytes)));
    assert!(!head.target.is_empty() && !head.target.of(bytes).iter().any(|&b| b <= b' ' || b == 0x7f));

    let mut lengths = 0;
    let mut codings = 0;
    let mut hosts = 0;
    let mut canonical = Vec::new();
    canonical.extend_from_slice(head.method.of(bytes));
    canonical.push(b' ');
    canonical.extend_from_slice(head.target.of(bytes));
    canonical.push(b' ');
    canonical.extend_from_slice(head.version.name().as_bytes());
    canonical.extend_from_slice(b"\r\n");
    for header in &head.headers {
        let (name, value) = (header.name.of(bytes), header.value.of(bytes));
        assert!(is_token(name) && !has_control(value));
        assert!(!matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']));
        lengths += usize::from(name.eq_ignore_ascii_case(b"content-length"));
        codings += usize::from(name.eq_ignore_ascii_case(b"transfer-encoding"));
        hosts += usize::from(name.eq_ignore_ascii_case(b"host"));
        let mut key = Vec::new();
        if http1::cgi_name(name, Underscores::Drop, &mut key) {
            assert!(key.starts_with(b"HTTP_") && key != b"HTTP_PROXY" && !name.contains(&b'_'));
        } else {
            assert!(key.is_empty());
        }
        canonical.extend_from_slice(name);
        canonical.push(b':');
        canonical.extend_from_slice(value);
        canonical.extend_from_slice(b"\r\n");
    }
    canonical.extend_from_slice(b"\r\n");
    match head.framing {
        Framing::None => assert_eq!((lengths, codings), (0, 0)),
        Framing::Length(length) => {
            assert_eq!((lengths, codings), (1, 0));
            assert!(limits.body_bytes == 0 || length <= limits.body_bytes);
        }
        Framing::Chunked => {
            assert_eq!(lengths, 0);
            assert!(codings == 1 && head.version == Version::Http11);
        }
    }
    assert!(hosts == 1 || (hosts == 0 && head.version == Version::Http10));

    match http1::parse_head(&canonical, limits) {
        Ok(Step::Done(again, used)) => {
            assert_eq!(used, canonical.len());
            assert_eq!((again.framing, again.keep_alive, again.upgrade), (head.framing, head.keep_alive, head.upgrade));
            assert_eq!((again.version, again.expect_continue), (head.version, head.expect_continue));
            assert_eq!(again.host.map(|host| host.of(&canonical)), head.host.map(|host| host.of(bytes)));
        }
        other => panic!("the canonical form was not accepted: {other:?}"),
    }

    if let Ok(target) = http1::parse_target(head.method.of(bytes), head.target.of(bytes)) {
        assert!(!target.path.contains(&0) && matches!(target.path.first(), Some(b'/' | b'*')));
        assert_eq!(target.raw, head.target.of(bytes));
        if let Some(authority) = target.authority {
            assert_eq!(head.host.map(|host| host.of(bytes)), Some(authority));
        }
    }
}

/// A chunked body means the same however it arrives, errors included, and never grows.
pub fn http1_chunked(bytes: &[u8], seed: usize, limits: &Limits) {
    let whole = read_chunked(bytes, &[bytes.len()], limits);
    assert_eq!(whole, read_chunked(bytes, &cut(bytes.len(), seed), limits));
    if let Ok((data, used)) = whole {
        assert!(data.len() <= used.unwrap_or(bytes.len()));
        assert!(limits.body_bytes == 0 || data.len() as u64 <= limits.body_bytes);
        let framing = (used.unwrap_or(bytes.len()) - data.len()) as u64;
        let trailer = limits.trailer_bytes as u64;
        assert!(framing <= limits.chunk_overhead_bytes + trailer + 8 * data.len() as u64);
        assert!(used.is_none_or(|used| bytes[..used].ends_with(b"\r\n")));
    }
}

/// What was judged is not judged anew when more comes, and a header lies within what was shown.
pub fn proxy_header(bytes: &[u8], seed: usize) {
    let whole = proxy::parse(bytes);
    let part = proxy::parse(&bytes[..seed % (bytes.len() + 1)]);
    assert!(part == whole || part == Ok(Step::NeedMore));
    match whole {
        Ok(Step::Done(proxy::Header::Absent, used)) => assert_eq!(used, 0),
        Ok(Step::Done(_, used)) => assert!(used >= 15 && used <= bytes.len()),
        _ => {}
    }
}

/// What is read are pieces of the line; what comes behind a comma changes nothing of what stands before it.
pub fn forwarded_line(bytes: &[u8]) {
    let whole = forwarded::parse(bytes);
    let longer = [bytes, b",for=192.0.2.1"].concat();
    let more = forwarded::parse(&longer);
    match (&whole, &more) {
        (None, None) => {}
        (Some(whole), Some(more)) => {
            assert_eq!(whole[..], more[..whole.len()]);
            assert_eq!(more.len(), whole.len() + 1);
            assert_eq!(more[whole.len()].client.as_deref(), Some(&b"192.0.2.1"[..]));
            let values = whole.iter().flat_map(|one| [&one.client, &one.host, &one.scheme]).flatten();
            let total: usize = values.clone().map(|value| value.len()).sum();
            assert!(total < bytes.len().max(1));
            assert!(values.into_iter().all(|value| !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))));
        }
        _ => panic!("{whole:?} became {more:?}"),
    }
}

/// A packet's strings lie within it, and a part of it is never taken for the whole.
pub fn uwsgi_packet(bytes: &[u8], seed: usize, limits: &Limits) {
    let _ = detect::guess(bytes);
    let whole = uwsgi::parse_packet(bytes, limits);
    if bytes.len() < 4 {
        assert_eq!(whole, Ok(Step::NeedMore));
        return;
    }
    let end = 4 + usize::from(u16::from_le_bytes([bytes[1], bytes[2]]));
    let part = &bytes[..seed % bytes.len()];
    if part.len() < 4 {
        assert_eq!(uwsgi::parse_packet(part, limits), Ok(Step::NeedMore));
    } else if part.len() >= end {
        assert_eq!(uwsgi::parse_packet(part, limits), whole);
    }
    let Ok(Step::Done(packet, used)) = whole else {
        return;
    };
    assert_eq!(used, end);
    let mut written = 0;
    for (key, value) in &packet.vars {
        assert!(key.start as usize >= written && value.start == key.end + 2 && value.end as usize <= used);
        written = value.end as usize;
        assert!(!key.is_empty() && !key.of(bytes).iter().any(|b| matches!(b, 0 | b'\r' | b'\n')));
        assert!(!value.of(bytes).contains(&0));
        assert!(packet.get(bytes, key.of(bytes)).is_some());
    }
    assert!(limits.body_bytes == 0 || packet.content_length <= limits.body_bytes);
}

/// Whatever an app returns, what goes out has one line for the status and one for each header. `bytes`: the status,
/// then names and values in turn, each ended by 0xff.
pub fn response_head(bytes: &[u8]) {
    let mut parts = bytes.split(|&b| b == 0xff);
    let status = parts.next().unwrap_or_default();
    let mut out = b"before".to_vec();
    let Ok(number) = response::status_line(&mut out, Version::Http11, status) else {
        assert_eq!(out, b"before");
        return;
    };
    assert!((200..600).contains(&number));
    let mut lines = 1;
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        if response::check_header(name, value).is_ok() {
            assert!(is_token(name) && !has_control(value));
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
            lines += 1;
        }
        let _ = response::is_hop_by_hop(name);
    }
    assert!(out.starts_with(b"beforeHTTP/1.1 "));
    assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), lines);
    assert_eq!(out.iter().filter(|&&b| b == b'\r').count(), lines);
    assert!(!out.contains(&0));
}
