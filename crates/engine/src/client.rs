//! What a request is told of its client beyond the usual (`trusted-headers`), and whose word about it is not passed on.
//!
//! Usually X-Forwarded-For and X-Forwarded-Proto of trusted peers are read where they are needed, and none of this is
//! there. Where other headers count, or where those of strangers are dropped, it is done here, once for each request,
//! before anybody looks at it: so that rules, the app and the log see the same.

use std::io;

use wire::http1::{Head, Header};

use crate::exchange::{Exchange, Parsed};
use crate::forwarded::{self, IpText, TrustedProxies};
use crate::plan::EnginePlan;

/// What proxies have said, where it is not read from X-Forwarded-For and X-Forwarded-Proto in the usual way.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// None: the client is the peer.
    pub address: Option<IpText>,
    pub is_secure: bool,
}

/// Which headers of trusted peers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Headers {
    forwarded: bool,
    address: bool,
    real_ip: bool,
    scheme: bool,
    ssl: bool,
    host: bool,
    port: bool,
}

const USUAL: Headers =
    Headers { forwarded: false, address: true, real_ip: false, scheme: true, ssl: true, host: false, port: false };

pub struct Forwarding {
    headers: Headers,
    drops_others: bool,
}

impl Forwarding {
    /// None where nothing but the usual is to be done.
    pub fn new(plan: &EnginePlan) -> io::Result<Option<Self>> {
        let mut headers = if plan.trusted_headers.is_empty() { USUAL } else { Headers::default() };
        for name in &plan.trusted_headers {
            *match name.as_str() {
                "forwarded" => &mut headers.forwarded,
                "x-forwarded-for" => &mut headers.address,
                "x-real-ip" => &mut headers.real_ip,
                "x-forwarded-proto" => &mut headers.scheme,
                "x-forwarded-ssl" => &mut headers.ssl,
                "x-forwarded-host" => &mut headers.host,
                "x-forwarded-port" => &mut headers.port,
                other => {
                    let text = format!("trusted-headers: nothing can be read from {other:?}");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                }
            } = true;
        }
        let drops_others = plan.drops_forwarded;
        Ok((headers != USUAL || drops_others).then_some(Self { headers, drops_others }))
    }

    /// Takes what is said about a request, or drops it; tells whether something was dropped. Over the uwsgi protocol the
    /// front end says what is so by itself.
    pub fn apply(&self, exchange: &mut Exchange, proxies: &TrustedProxies) -> bool {
        let Parsed::Http(head) = &mut exchange.parsed else { return false };
        if !exchange.trusted {
            let before = head.headers.len();
            if self.drops_others {
                let bytes = &exchange.bytes;
                head.headers.retain(|header| !is_of_proxies(header.name.of(bytes)));
            }
            return head.headers.len() < before;
        }
        if self.headers == USUAL {
            return false;
        }
        let (client, host, port) = self.read(head, &exchange.bytes, proxies);
        exchange.client = Some(Box::new(client));
        if let Some(host) = host {
            exchange.set_variable(b"HTTP_HOST", host);
        }
        if let Some(port) = port {
            exchange.set_variable(b"SERVER_PORT", port);
        }
        false
    }

    /// The client, HTTP_HOST and SERVER_PORT.
    fn read(&self, head: &Head, bytes: &[u8], proxies: &TrustedProxies) -> (Client, Option<Vec<u8>>, Option<Vec<u8>>) {
        let on = self.headers;
        let lines = |name| lines(head, bytes, name).map(|header| header.value.of(bytes)).rev();
        // The last line: of several only that is surely the word of the proxy.
        let last = |is_wanted: bool, name| if is_wanted { lines(name).next() } else { None };
        let said = if on.forwarded { proxies.forwarded(lines(b"forwarded")) } else { None };
        let address = said.as_ref().and_then(|said| said.address);
        let address = address
            .or_else(|| {
                let all: Vec<&[u8]> = lines(b"x-forwarded-for").filter(|_| on.address).collect();
                let joined = all.into_iter().rev().collect::<Vec<_>>().join(&b", "[..]);
                proxies.client_address(&joined)
            })
            .or_else(|| last(on.real_ip, b"x-real-ip").and_then(forwarded::real_ip));
        let scheme = said.as_ref().and_then(|said| said.scheme);
        let scheme = scheme.or_else(|| last(on.scheme, b"x-forwarded-proto").and_then(forwarded::scheme));
        let is_secure = match scheme {
            Some(scheme) => scheme == "https",
            None => last(on.ssl, b"x-forwarded-ssl").is_some_and(forwarded::is_on),
        };
        let host = said.as_ref().and_then(|said| said.host.as_deref()).and_then(forwarded::host);
        let host = host.or_else(|| last(on.host, b"x-forwarded-host").and_then(forwarded::host));
        let port = last(on.port, b"x-forwarded-port").and_then(forwarded::port);
        let port = port.or_else(|| host.and_then(forwarded::port_of));
        (Client { address, is_secure }, host.map(<[u8]>::to_vec), port.map(<[u8]>::to_vec))
    }
}

fn lines<'a>(head: &'a Head, bytes: &'a [u8], name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a Header> {
    head.headers.iter().filter(move |header| header.name.of(bytes).eq_ignore_ascii_case(name))
}

/// Whether a header is one that proxies speak by. With an underscore it is the same variable to the app.
fn is_of_proxies(name: &[u8]) -> bool {
    let is = |start: &[u8]| {
        name.len() >= start.len()
            && name.iter().zip(start).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
    };
    let only = |whole: &[u8]| name.len() == whole.len() && is(whole);
    is(b"x-forwarded-") || only(b"forwarded") || only(b"x-real-ip")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_proxies() {
        for name in ["X-Forwarded-For", "x-forwarded-PROTO", "X_Forwarded_Host", "Forwarded", "X-Real-IP", "x_real-ip"]
        {
            assert!(is_of_proxies(name.as_bytes()), "{name}");
        }
        for name in ["X-Forwarded", "X-Forwarde", "Forwarded-For", "X-Real-IPs", "Host", "", "X-Request-ID"] {
            assert!(!is_of_proxies(name.as_bytes()), "{name}");
        }
    }
}
