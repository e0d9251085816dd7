//! Who the client is when a proxy stands in front: X-Forwarded-* and Forwarded, and whom to believe them from.
//!
//! Here: values in, values out; no sockets, no requests. The list of trusted peers is followed as it is given; that
//! loopback and unix sockets are on it by default is decided where the plan is made.
//!
//! Each proxy appends the address of *its* peer, so that the list is believable from the right end only, for as long
//! as the hops are trusted: what stands left of the first untrusted address was written by a stranger. The same
//! practice is described for `Forwarded` in RFC 7239, section 8.1.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A unix socket's client, which has no address.
    Unix,
    Ip(IpAddr),
}

/// Longest text of an IP address.
const IP_TEXT_BYTES: usize = 45;

/// An address as text, in place.
#[derive(Clone, Copy)]
pub struct IpText {
    bytes: [u8; IP_TEXT_BYTES],
    /// `length <= IP_TEXT_BYTES`, and that much of `bytes` is ASCII.
    length: u8,
}

impl IpText {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Four octets with their dots are 15 bytes at most.
    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.length)] = byte;
        self.length += 1;
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl From<IpAddr> for IpText {
    /// An IPv4 address that came mapped into IPv6 is written as IPv4.
    fn from(address: IpAddr) -> IpText {
        let mut text = IpText { bytes: [0; IP_TEXT_BYTES], length: 0 };
        if let IpAddr::V4(address) = address {
            // By far the most, and the formatting machinery costs more than the rest of a request's addresses.
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push(b'.');
                }
                if octet >= 100 {
                    text.push(b'0' + octet / 100);
                }
                if octet >= 10 {
                    text.push(b'0' + octet / 10 % 10);
                }
                text.push(b'0' + octet % 10);
            }
            return text;
        }
        // Can not fail: the longest address has IP_TEXT_BYTES characters, and `write_str` only fails for more.
        let _ = write!(text, "{}", address.to_canonical());
        text
    }
}

impl std::fmt::Write for IpText {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        let start = usize::from(self.length);
        let target = self.bytes.get_mut(start..start + piece.len()).ok_or(std::fmt::Error)?;
        target.copy_from_slice(piece.as_bytes());
        self.length = u8::try_from(start + piece.len()).map_err(|_| std::fmt::Error)?;
        Ok(())
    }
}

impl std::fmt::Debug for IpText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl PartialEq<&str> for IpText {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// A range of addresses; the bits after the prefix are zero in `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    V4 { first: u32, mask: u32 },
    V6 { first: u128, mask: u128 },
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(prefix.parse::<u32>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => Network::v4(address, prefix.unwrap_or(32)),
            IpAddr::V6(address) => {
                let prefix = prefix.unwrap_or(128);
                // Peers are compared in their canonical form, so a range of mapped addresses means the IPv4 ones.
                match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
                    (Some(address), Some(prefix)) => Network::v4(address, prefix),
                    _ => Network::v6(address, prefix),
                }
            }
        }
    }

    fn v4(address: Ipv4Addr, prefix: u32) -> Option<Network> {
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix)?).unwrap_or(0);
        Some(Network::V4 { first: address.to_bits() & mask, mask })
    }

    fn v6(address: Ipv6Addr, prefix: u32) -> Option<Network> {
        let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix)?).unwrap_or(0);
        Some(Network::V6 { first: address.to_bits() & mask, mask })
    }

    /// `address` is canonical.
    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Network::V4 { first, mask }, IpAddr::V4(address)) => address.to_bits() & mask == first,
            (Network::V6 { first, mask }, IpAddr::V6(address)) => address.to_bits() & mask == first,
            _ => false,
        }
    }
}

/// Whose X-Forwarded-* headers are believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    everyone: bool,
    unix: bool,
    networks: Vec<Network>,
}

impl TrustedProxies {
    /// Read a list of addresses, ranges in CIDR notation, `unix` (peers on unix sockets) and `*` (everyone).
    ///
    /// The error is a sentence that names the entry at fault.
    pub fn parse(entries: &[String]) -> Result<TrustedProxies, String> {
        let mut proxies = TrustedProxies::default();
        for entry in entries {
            match entry.trim() {
                "*" => proxies.everyone = true,
                "unix" => proxies.unix = true,
                text => proxies.networks.push(Network::parse(text).ok_or_else(|| {
                    format!(
                        "trusted-proxies: {text:?} is no address: give an IPv4 or IPv6 address, a range such as \
                         10.0.0.0/8 or fd00::/8, `unix` or `*`"
                    )
                })?),
            }
        }
        Ok(proxies)
    }

    /// Whether X-Forwarded-* headers of this peer count.
    pub fn trusts(&self, peer: Peer) -> bool {
        self.everyone
            || match peer {
                Peer::Unix => self.unix,
                Peer::Ip(address) => self.trusts_address(address.to_canonical()),
            }
    }

    /// The client's address by X-Forwarded-For, for a request of a trusted peer.
    ///
    /// `forwarded_for` is the header's value; several headers are joined with commas in their order. The result is the
    /// rightmost address that is not trusted, or the leftmost one if all are. An element that is no address (`unknown`,
    /// an obfuscated name) ends the search: the hop right of it is then the last that is known. None: nothing usable,
    /// the client is the peer itself.
    pub fn client_address(&self, forwarded_for: &[u8]) -> Option<IpText> {
        let mut furthest = None;
        for element in forwarded_for.rsplit(|&byte| byte == b',') {
            let element = trim(element);
            if element.is_empty() {
                // An empty list element means nothing (RFC 9110, section 5.6.1.2).
                continue;
            }
            let Some(address) = parse_address(element) else {
                break;
            };
            furthest = Some(address);
            if !self.everyone && !self.trusts_address(address) {
                break;
            }
        }
        furthest.map(IpText::from)
    }

    /// What the lines of Forwarded say, from the last to the first, for a request of a trusted peer.
    ///
    /// Each element was written by the proxy that the one right of it names, so that they count from the right end for as
    /// long as the hops are trusted; the last that counts describes the client's own request. A line that is malformed
    /// ends the search, as everything left of it may be the client's. None: nothing usable.
    pub fn forwarded<'a>(&self, lines: impl Iterator<Item = &'a [u8]>) -> Option<Forwarded<'a>> {
        let mut found: Option<Forwarded<'a>> = None;
        for line in lines {
            let Some(elements) = wire::forwarded::parse(line) else { break };
            for element in elements.into_iter().rev() {
                let address = element.client.as_deref().and_then(parse_address);
                found = Some(Forwarded {
                    address: address.map(IpText::from).or(found.and_then(|found| found.address)),
                    scheme: element.scheme.as_deref().and_then(scheme),
                    host: element.host,
                });
                let is_proxy = address.is_some_and(|address| self.everyone || self.trusts_address(address));
                if !is_proxy {
                    return found;
                }
            }
        }
        found
    }

    fn trusts_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// What Forwarded says of a request.
#[derive(Debug)]
pub struct Forwarded<'a> {
    pub address: Option<IpText>,
    pub scheme: Option<&'static str>,
    /// Not looked at yet: see `host`.
    pub host: Option<Cow<'a, [u8]>>,
}

/// The scheme by X-Forwarded-Proto, for a request of a trusted peer: `http`, `https`, or None for anything else.
///
/// Of several values the last counts. A proxy that replaces the header (as nginx, HAProxy, and load balancers in clouds
/// do) sends one; from a proxy that appends, only the last is its own word, the others may be the client's.
pub fn scheme(forwarded_proto: &[u8]) -> Option<&'static str> {
    let last = last(forwarded_proto)?;
    if last.eq_ignore_ascii_case(b"https") {
        Some("https")
    } else if last.eq_ignore_ascii_case(b"http") {
        Some("http")
    } else {
        None
    }
}

/// The host by X-Forwarded-Host, for a request of a trusted peer; of several values the last counts, as in `scheme`.
pub fn host(forwarded_host: &[u8]) -> Option<&[u8]> {
    last(forwarded_host).filter(|host| wire::http1::is_host(host))
}

/// The port by X-Forwarded-Port, in the same way: 1 to 65535, without leading zeros.
pub fn port(forwarded_port: &[u8]) -> Option<&[u8]> {
    last(forwarded_port).filter(|port| {
        let number =
            std::str::from_utf8(port).ok().filter(|text| is_port(text)).and_then(|text| text.parse::<u16>().ok());
        number.is_some_and(|number| number > 0) && !port.starts_with(b"0")
    })
}

/// The address by X-Real-IP, for a request of a trusted peer.
pub fn real_ip(value: &[u8]) -> Option<IpText> {
    parse_address(trim(value)).map(IpText::from)
}

/// The port in a value of Host.
pub fn port_of(host: &[u8]) -> Option<&[u8]> {
    let colon = host.iter().rposition(|&byte| byte == b':').filter(|at| !host[*at..].contains(&b']'))?;
    port(&host[colon + 1..])
}

fn last(list: &[u8]) -> Option<&[u8]> {
    list.rsplit(|&byte| byte == b',').map(trim).find(|element| !element.is_empty())
}

fn trim(element: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = element.iter().position(|byte| !is_space(byte)).unwrap_or(element.len());
    let end = element.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &element[start..end]
}

/// One element: an address, alone or as `1.2.3.4:80`, `[::1]`, `[::1]:80`, `"[::1]:80"`, `fe80::1%eth0`.
fn parse_address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        if !after.is_empty() && !is_port(after.strip_prefix(':')?) {
            return None;
        }
        IpAddr::V6(without_zone(address).parse().ok()?)
    } else {
        match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => {
                if !is_port(port) {
                    return None;
                }
                IpAddr::V4(address.parse().ok()?)
            }
            _ => without_zone(text).parse().ok()?,
        }
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A zone (RFC 4007) names an interface of the proxy's machine, which means nothing here. Only IPv6 has zones.
fn without_zone(text: &str) -> &str {
    match text.split_once('%') {
        Some((address, _)) if address.contains(':') => address,
        _ => text,
    }
}

/// `on...` and `1...` mean yes, as uWSGI reads HTTPS.
pub fn is_on(value: &[u8]) -> bool {
    value.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"on")) || value.first() == Some(&b'1')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(entries: &[&str]) -> TrustedProxies {
        TrustedProxies::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn ip(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    fn client(entries: &[&str], header: &str) -> Option<String> {
        trusted(entries).client_address(header.as_bytes()).map(|text| text.as_str().to_owned())
    }

    const LOCAL: &[&str] = &["unix", "127.0.0.0/8", "::1"];

    #[test]
    fn peers_are_trusted_by_the_list_alone() {
        let proxies = trusted(&["unix", "127.0.0.0/8", "::1", "10.1.2.3", "fd00::/8"]);
        for peer in [Peer::Unix, ip("127.9.9.9"), ip("::1"), ip("10.1.2.3"), ip("fdff::1"), ip("::ffff:127.0.0.1")] {
            assert!(proxies.trusts(peer), "{peer:?}");
        }
        for peer in
            [ip("128.0.0.1"), ip("::2"), ip("10.1.2.4"), ip("fe00::1"), ip("::ffff:10.1.2.4"), ip("::127.0.0.1")]
        {
            assert!(!proxies.trusts(peer), "{peer:?}");
        }
        assert!(!trusted(&[]).trusts(Peer::Unix));
        assert!(!trusted(&[]).trusts(ip("127.0.0.1")));
        assert!(!trusted(&["127.0.0.1"]).trusts(Peer::Unix));
    }

    #[test]
    fn a_star_trusts_everyone() {
        let proxies = trusted(&["*"]);
        assert!(proxies.trusts(Peer::Unix) && proxies.trusts(ip("203.0.113.9")) && proxies.trusts(ip("2001:db8::1")));
    }

    #[test]
    fn prefixes_at_their_ends() {
        assert!(trusted(&["0.0.0.0/0"]).trusts(ip("255.255.255.255")));
        assert!(!trusted(&["0.0.0.0/0"]).trusts(ip("::1")));
        assert!(trusted(&["::/0"]).trusts(ip("ffff::")));
        assert!(!trusted(&["::/0"]).trusts(ip("1.2.3.4")));
        assert!(trusted(&["10.0.0.1/32"]).trusts(ip("10.0.0.1")));
        assert!(!trusted(&["10.0.0.1/32"]).trusts(ip("10.0.0.0")));
        assert!(trusted(&["2001:db8::1/128"]).trusts(ip("2001:db8::1")));
        assert!(!trusted(&["2001:db8::1/128"]).trusts(ip("2001:db8::")));
        // Bits after the prefix are ignored.
        assert!(trusted(&["10.9.9.9/8"]).trusts(ip("10.0.0.1")));
        // A range of mapped addresses is a range of IPv4 addresses.
        assert!(trusted(&["::ffff:10.0.0.0/104"]).trusts(ip("10.255.0.1")));
        assert!(!trusted(&["::ffff:10.0.0.0/104"]).trusts(ip("11.0.0.1")));
    }

    #[test]
    fn a_wrong_entry_is_named() {
        let wrong = "|10.0.0.0/33|::/129|10.0.0.0/|10.0.0.0/-1|10.0.0.0/+8|10.0.0|localhost|1.2.3.4:80|/8|10.0.0.0/8/8";
        for entry in wrong.split('|') {
            let error = TrustedProxies::parse(&[entry.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{entry:?}")), "{error}");
        }
        assert!(TrustedProxies::parse(&[" 10.0.0.0/8 ".to_owned()]).is_ok());
    }

    #[test]
    fn the_client_is_the_rightmost_stranger() {
        assert_eq!(client(LOCAL, "203.0.113.9").unwrap(), "203.0.113.9");
        assert_eq!(client(LOCAL, "1.1.1.1, 203.0.113.9").unwrap(), "203.0.113.9");
        assert_eq!(client(LOCAL, "1.1.1.1, 203.0.113.9, 127.0.0.1").unwrap(), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "6.6.6.6, 203.0.113.9, 10.0.0.7,10.0.0.8").unwrap(), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "2001:db8::5, 10.0.0.7").unwrap(), "2001:db8::5");
    }

    #[test]
    fn where_all_are_trusted_the_leftmost_counts() {
        assert_eq!(client(LOCAL, "127.0.0.1").unwrap(), "127.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1, 10.0.0.2").unwrap(), "10.0.0.1");
        assert_eq!(client(&["*"], "203.0.113.9, 198.51.100.1").unwrap(), "203.0.113.9");
    }

    #[test]
    fn ports_brackets_spaces_and_zones_are_understood() {
        for (header, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("\t 203.0.113.9 \t", "203.0.113.9"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("203.0.113.9,", "203.0.113.9"),
            (", ,203.0.113.9, ,", "203.0.113.9"),
        ] {
            assert_eq!(client(LOCAL, header).unwrap(), address, "{header}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        let garbage = "|_hidden|unknown|1.2.3|1.2.3.4.5|1.2.3.4:|1.2.3.4:x|1.2.3.4:123456|[::1|::1]|[::1]x|[::1]:|[1.2.3.4]|\
            1.2.3.4%eth0|01.2.3.4|0x7f.1|2130706433|\"1.2.3.4|1.2.3.4 5.6.7.8|\u{fffd}|1.2.3.4\r\nX: y| |,";
        for header in garbage.split('|') {
            assert_eq!(client(LOCAL, header), None, "{header:?}");
        }
        assert!(trusted(LOCAL).client_address(b"\xff\xfe\x00").is_none());
        // Garbage left of trusted hops: the furthest hop that is known.
        assert_eq!(client(&["10.0.0.0/8"], "unknown, 10.0.0.7").unwrap(), "10.0.0.7");
        assert_eq!(client(&["10.0.0.0/8"], "9.9.9.9, unknown, 10.0.0.7, 10.0.0.8").unwrap(), "10.0.0.7");
        // Garbage at the right end hides everything left of it, which nobody vouches for.
        assert_eq!(client(LOCAL, "9.9.9.9, unknown"), None);
        // Garbage left of the client is never looked at.
        assert_eq!(client(LOCAL, "\u{0}\u{1}evil, 203.0.113.9").unwrap(), "203.0.113.9");
    }

    #[test]
    fn a_huge_header_is_read_in_linear_time() {
        let header = b"127.0.0.1,".repeat(100_000);
        assert_eq!(trusted(LOCAL).client_address(&header).unwrap(), "127.0.0.1");
        assert!(trusted(LOCAL).client_address(&b",".repeat(1_000_000)).is_none());
        assert!(trusted(LOCAL).client_address(&b"[".repeat(1_000_000)).is_none());
    }

    #[test]
    fn addresses_as_text() {
        for text in
            ["0.0.0.0", "255.255.255.255", "::", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::1"]
        {
            assert_eq!(IpText::from(text.parse::<IpAddr>().unwrap()), text);
        }
        assert_eq!(IpText::from("::ffff:1.2.3.4".parse::<IpAddr>().unwrap()), "1.2.3.4");
        assert_eq!(IpText::from("1.2.3.4".parse::<IpAddr>().unwrap()).as_bytes(), b"1.2.3.4");
    }

    #[test]
    fn hosts_and_ports() {
        for (header, expected) in [
            ("a.example", Some("a.example")),
            ("evil.example, a.example:8443", Some("a.example:8443")),
            ("a.example, ", Some("a.example")),
            ("[::1]:80", Some("[::1]:80")),
            ("a b", None),
            ("a.example, <x>", None),
            ("http://a.example", None),
            ("", None),
        ] {
            assert_eq!(host(header.as_bytes()), expected.map(str::as_bytes), "{header:?}");
        }
        for (header, expected) in [
            ("443", Some("443")),
            ("80, 8443", Some("8443")),
            ("65535", Some("65535")),
            ("65536", None),
            ("0", None),
            ("080", None),
            ("+80", None),
            ("", None),
            ("80;", None),
        ] {
            assert_eq!(port(header.as_bytes()), expected.map(str::as_bytes), "{header:?}");
        }
        for (header, expected) in
            [("a:81", Some("81")), ("a", None), ("[::1]", None), ("[::1]:82", Some("82")), ("a:", None)]
        {
            assert_eq!(port_of(header.as_bytes()), expected.map(str::as_bytes), "{header:?}");
        }
        assert_eq!(real_ip(b" 192.0.2.1 ").unwrap(), "192.0.2.1");
        assert!(real_ip(b"192.0.2.1, 192.0.2.2").is_none() && real_ip(b"").is_none());
    }

    /// `address|host|scheme` of lines of Forwarded, the first line first.
    fn forwarded(entries: &[&str], lines: &[&str]) -> String {
        let found = trusted(entries).forwarded(lines.iter().rev().map(|line| line.as_bytes()));
        let Some(found) = found else { return "nothing".to_owned() };
        let host = found.host.map_or_else(|| "-".to_owned(), |host| String::from_utf8_lossy(&host).into_owned());
        format!(
            "{}|{host}|{}",
            found.address.map_or("-".into(), |text| text.as_str().to_owned()),
            found.scheme.unwrap_or("-")
        )
    }

    #[test]
    fn forwarded_counts_from_its_end() {
        assert_eq!(forwarded(LOCAL, &["for=192.0.2.1;proto=https;host=a.example"]), "192.0.2.1|a.example|https");
        // What the client itself sent stands left of what the proxy added.
        assert_eq!(forwarded(LOCAL, &["for=6.6.6.6;proto=https, for=192.0.2.1"]), "192.0.2.1|-|-");
        assert_eq!(forwarded(LOCAL, &["for=6.6.6.6;proto=https", "for=192.0.2.1;proto=http"]), "192.0.2.1|-|http");
        // Over two proxies: the outer one describes the client's own request.
        let chain = &["for=192.0.2.1;proto=https;host=a.example, for=10.0.0.7;proto=http;host=inner"];
        assert_eq!(forwarded(&["10.0.0.0/8"], chain), "192.0.2.1|a.example|https");
        assert_eq!(forwarded(LOCAL, chain), "10.0.0.7|inner|http");
        assert_eq!(forwarded(&["*"], chain), "192.0.2.1|a.example|https");
        assert_eq!(forwarded(LOCAL, &["for=\"[2001:db8::1]:4711\""]), "2001:db8::1|-|-");
    }

    #[test]
    fn forwarded_that_is_cut_short() {
        assert_eq!(forwarded(LOCAL, &["for=unknown;proto=https"]), "-|-|https");
        assert_eq!(
            forwarded(&["10.0.0.0/8"], &["for=192.0.2.1, for=_hidden;proto=https, for=10.0.0.7"]),
            "10.0.0.7|-|https"
        );
        // An open quote hides its own line, and what stands before it.
        assert_eq!(forwarded(LOCAL, &["for=\"6.6.6.6, for=192.0.2.1"]), "nothing");
        assert_eq!(forwarded(&["10.0.0.0/8"], &["for=6.6.6.6", "\"", "for=10.0.0.7"]), "10.0.0.7|-|-");
        assert_eq!(forwarded(LOCAL, &["", ","]), "nothing");
        assert_eq!(forwarded(LOCAL, &["proto=ftp"]), "-|-|-");
    }

    #[test]
    fn schemes() {
        for (header, expected) in [
            ("https", Some("https")),
            ("http", Some("http")),
            (" HTTPS ", Some("https")),
            ("https, http", Some("http")),
            ("http,https", Some("https")),
            ("http, https, ", Some("https")),
            ("", None),
            (",", None),
            ("wss", None),
            ("https, ftp", None),
            ("https://", None),
            ("https\0", None),
            ("httpss", None),
        ] {
            assert_eq!(scheme(header.as_bytes()), expected, "{header:?}");
        }
        assert_eq!(scheme(b"\xffhttps"), None);
    }
}
