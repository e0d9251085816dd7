//! Every way in which a peer, a proxy or an app can break a protocol: one table.
//!
//! Code, HTTP status, fault and explanation of an error stand in one row; logs, metrics, tests, the corpus (by file
//! name) and Python's `catalogue()` all read them from here.

/// Whose mistake it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The HTTP client (or whatever stands in front and speaks HTTP).
    Client,
    /// The front end that speaks the uwsgi protocol to us.
    Proxy,
    /// The application, by what it returned.
    App,
}

impl Fault {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Proxy => "proxy",
            Self::App => "app",
        }
    }
}

macro_rules! errors {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident = $code:literal, $status:literal, $fault:ident, $explanation:literal;
    )+) => {
        /// The rule that was violated. The order is that of the table above and means nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Error {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl Error {
            /// Every error there is, for catalogues and completeness tests.
            pub const ALL: &[Error] = &[ $( Error::$variant, )+ ];

            /// A stable name for logs, metrics and tests.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self { $( Self::$variant => $code, )+ }
            }

            /// The status to answer with, before the connection is closed.
            #[must_use]
            pub fn status(&self) -> u16 {
                match self { $( Self::$variant => $status, )+ }
            }

            #[must_use]
            pub fn fault(&self) -> Fault {
                match self { $( Self::$variant => Fault::$fault, )+ }
            }

            /// What was wrong, in one sentence for the log.
            #[must_use]
            pub fn explanation(&self) -> &'static str {
                match self { $( Self::$variant => $explanation, )+ }
            }
        }
    };
}

errors! {
    // --- any line of an HTTP head or trailer
    /// RFC 9112 2.2: a recipient may take a lone LF as a line end; two recipients that differ are a smuggling hole.
    BareLf = "bare-lf", 400, Client, "a line ends in LF without CR";
    /// RFC 9112 2.2: a CR that is not followed by LF is invalid.
    BareCr = "bare-cr", 400, Client, "a CR is not followed by LF";
    /// RFC 9110 5.5: NUL is dangerous in a field value; nowhere in a head is it allowed.
    Nul = "nul", 400, Client, "the head contains a NUL byte";

    // --- request line
    /// RFC 9112 2.2: at least one empty line before a request is to be ignored; we ignore a few.
    TooManyEmptyLines = "too-many-empty-lines", 400, Client, "too many empty lines before the request line";
    /// RFC 9110 9.1: a method is a token.
    BadMethod = "bad-method", 400, Client, "the method is not a token: this does not look like HTTP";
    /// RFC 9112 3: a method longer than any that is implemented is answered 501.
    MethodTooLong = "method-too-long", 501, Client, "the method is longer than any that exists";
    /// RFC 9112 3: method SP target SP version, single spaces, nothing else.
    BadRequestLine = "bad-request-line", 400, Client, "the request line is not METHOD SP TARGET SP VERSION";
    /// RFC 9112 3: a request line longer than is parsed is answered 414.
    RequestLineTooLong = "request-line-too-long", 414, Client, "the request line alone is longer than the head limit";
    /// RFC 1945 3.1: a request line without version is HTTP/0.9, which has no headers and no status.
    MissingVersion = "missing-version", 400, Client, "the request line has no version (HTTP/0.9 is not served)";
    /// RFC 9112 2.3: HTTP-version is `HTTP/` DIGIT `.` DIGIT, in upper case.
    BadVersion = "bad-version", 400, Client, "the HTTP version is malformed";
    /// RFC 9110 15.6.6: the major version is not supported.
    UnsupportedVersion = "unsupported-version", 505, Client, "only HTTP/1.x is spoken here";

    // --- target
    /// RFC 9112 3.2: the target contains a control character or a fragment.
    BadTargetCharacter = "bad-target-character", 400, Client,
        "the request target contains a character that a URI can not have";
    /// RFC 9112 3.2: the target is neither a path nor an http or https URI.
    BadTargetForm = "bad-target-form", 400, Client, "the request target is neither a path nor an http(s) URI";
    /// RFC 9112 3.2.4: the asterisk form is for OPTIONS only.
    AsteriskNotOptions = "asterisk-not-options", 400, Client, "the request target `*` belongs to OPTIONS only";
    /// RFC 9110 4.2.1, 4.2.4: the authority of an http URI has a host and no user information.
    BadAuthority = "bad-authority", 400, Client, "the authority in the request target is invalid";
    /// RFC 9110 9.3.6: an origin server is not a tunnel.
    ConnectRefused = "connect-refused", 501, Client, "CONNECT asks for a proxy, and this is none";
    /// RFC 3986 2.1: `%` is followed by two hexadecimal digits.
    BadEscape = "bad-escape", 400, Client, "the path contains a % that is not followed by two hexadecimal digits";
    /// RFC 3986 7.3: a path with %00 means different things to different components.
    NulInPath = "nul-in-path", 400, Client, "the path contains %00";

    // --- header fields
    /// RFC 6585 5.
    HeadTooLarge = "head-too-large", 431, Client, "request line and headers are larger than the head limit";
    /// RFC 6585 5.
    TooManyHeaders = "too-many-headers", 431, Client, "there are more header lines than the limit allows";
    /// RFC 9112 5: a field line is name `:` value.
    HeaderWithoutColon = "header-without-colon", 400, Client, "a header line has no colon";
    /// RFC 9112 5: a field name is a token, so not empty.
    EmptyHeaderName = "empty-header-name", 400, Client, "a header line begins with a colon";
    /// RFC 9110 5.1: a field name is a token.
    BadHeaderName = "bad-header-name", 400, Client, "a header name contains a character that a token can not have";
    /// RFC 9112 5.1: whitespace between name and colon must be refused by a server.
    SpaceInHeaderName = "space-in-header-name", 400, Client, "there is whitespace before the colon of a header";
    /// RFC 9112 5.2: line folding is obsolete and is refused; so is whitespace before the first field (2.2).
    ObsFold = "obs-fold", 400, Client, "a header line begins with whitespace (line folding)";
    /// RFC 9110 5.5: control characters are not allowed in a field value.
    ControlInHeader = "control-in-header", 400, Client, "a header value contains a control character";

    // --- host
    /// RFC 9112 3.2: an HTTP/1.1 request without Host is answered 400.
    MissingHost = "missing-host", 400, Client, "an HTTP/1.1 request needs a Host header";
    /// RFC 9112 3.2: so is one with more than one.
    DuplicateHost = "duplicate-host", 400, Client, "there is more than one Host header";
    /// RFC 9112 3.2: so is one with an invalid value.
    BadHost = "bad-host", 400, Client, "the Host header is not a host name with an optional port";

    // --- framing
    /// RFC 9110 8.6: Content-Length is 1*DIGIT.
    BadContentLength = "bad-content-length", 400, Client, "Content-Length is not made of digits only";
    /// RFC 9110 8.6: a recipient anticipates large numerals and does not overflow.
    ContentLengthOverflow = "content-length-overflow", 400, Client, "Content-Length is larger than any body can be";
    /// RFC 9112 6.3: more than one Content-Length is refused, identical or not.
    DuplicateContentLength = "duplicate-content-length", 400, Client, "there is more than one Content-Length";
    /// RFC 9112 6.3: both framings together are an attempt at smuggling.
    LengthAndTransferEncoding = "length-and-transfer-encoding", 400, Client,
        "Content-Length and Transfer-Encoding are both given";
    /// RFC 9112 6.1: Transfer-Encoding is a list of tokens.
    BadTransferEncoding = "bad-transfer-encoding", 400, Client, "Transfer-Encoding is malformed";
    /// RFC 9112 7.1: chunked is never applied more than once.
    ChunkedTwice = "chunked-twice", 400, Client, "Transfer-Encoding names chunked more than once";
    /// RFC 9112 6.1: a transfer coding that is not understood is answered 501.
    UnsupportedTransferCoding = "unsupported-transfer-coding", 501, Client,
        "the only transfer coding understood is chunked";
    /// RFC 9112 6.1: Transfer-Encoding in an HTTP/1.0 message means faulty framing.
    TransferEncodingInHttp10 = "transfer-encoding-in-http10", 400, Client,
        "Transfer-Encoding does not exist in HTTP/1.0";
    /// RFC 9110 15.5.14.
    BodyTooLarge = "body-too-large", 413, Client, "the body is larger than limit-post allows";
    /// RFC 9110 10.1.1.
    UnsupportedExpectation = "unsupported-expectation", 417, Client, "the only expectation understood is 100-continue";

    // --- chunked body
    /// RFC 9112 7.1: chunk-size is 1*HEXDIG, followed by `;` or CRLF.
    BadChunkSize = "bad-chunk-size", 400, Client, "a chunk size is not made of hexadecimal digits only";
    /// RFC 9112 7.1: a recipient anticipates large numerals and does not overflow.
    ChunkSizeOverflow = "chunk-size-overflow", 400, Client, "a chunk size has more than 16 digits";
    /// RFC 9112 7.1.1.
    BadChunkExtension = "bad-chunk-extension", 400, Client, "a chunk extension contains a control character";
    /// RFC 9112 7.1.1: a recipient limits the extensions it is willing to read.
    ChunkExtensionTooLong = "chunk-extension-too-long", 400, Client,
        "the extensions of the chunked body are longer than the limit";
    /// RFC 9112 7.1: chunk-data is followed by CRLF.
    BadChunkEnd = "bad-chunk-end", 400, Client, "the data of a chunk is not followed by CRLF";
    /// Not in an RFC: framing that outweighs the data is an attack on the CPU.
    ChunkOverhead = "chunk-overhead", 400, Client, "the framing of the chunked body outweighs its data";
    /// RFC 6585 5, RFC 9112 7.1.2.
    TrailerTooLarge = "trailer-too-large", 431, Client, "the trailer of the chunked body is larger than the limit";

    // --- uwsgi packet
    /// The bytes are certainly another protocol's ([`crate::detect`]): a listener or a `proxy_pass` is misconfigured.
    UwsgiWrongProtocol = "uwsgi-wrong-protocol", 400, Proxy, "what arrived on the uwsgi socket is another protocol";
    /// A request packet (modifier 0 or 30) without variables.
    UwsgiEmpty = "uwsgi-empty", 400, Proxy, "the uwsgi packet has no variables";
    /// A length in the block points beyond the block, or bytes are left over.
    UwsgiTruncated = "uwsgi-truncated", 400, Proxy, "a length in the uwsgi packet points beyond its end";
    /// A variable without a name.
    UwsgiEmptyKey = "uwsgi-empty-key", 400, Proxy, "a variable of the uwsgi packet has an empty name";
    /// NUL, CR or LF in a name.
    UwsgiBadKey = "uwsgi-bad-key", 400, Proxy, "the name of a uwsgi variable contains NUL, CR or LF";
    /// NUL, CR or LF in a value: no header or request line that was read correctly has them.
    UwsgiBadValue = "uwsgi-bad-value", 400, Proxy, "the value of a uwsgi variable contains NUL, CR or LF";
    /// More variables than `header_count` and the CGI variables need.
    UwsgiTooManyVariables = "uwsgi-too-many-variables", 431, Proxy,
        "the uwsgi packet has more variables than the limit allows";
    /// REQUEST_METHOD is a token, as in HTTP.
    UwsgiBadMethod = "uwsgi-bad-method", 400, Proxy, "REQUEST_METHOD is not a token";
    /// CONTENT_LENGTH is empty or 1*DIGIT without overflow.
    UwsgiBadContentLength = "uwsgi-bad-content-length", 400, Proxy, "CONTENT_LENGTH is not a number";
    /// Two CONTENT_LENGTH that differ.
    UwsgiDuplicateContentLength = "uwsgi-duplicate-content-length", 400, Proxy,
        "CONTENT_LENGTH is given twice with different values";

    // --- PROXY protocol
    /// proxy-protocol.txt 2.1: the line has a family, two addresses of it and two ports, single spaces, 107 bytes at most.
    ProxyBadLine = "proxy-bad-line", 400, Proxy, "the line of the PROXY protocol is malformed";
    /// proxy-protocol.txt 2.2: version 2, a command and a family that are known, and room for the addresses.
    ProxyBadHeader = "proxy-bad-header", 400, Proxy, "the binary header of the PROXY protocol is malformed";
    /// Addresses take 216 bytes; what follows is limited.
    ProxyTooLong = "proxy-too-long", 400, Proxy, "the binary header of the PROXY protocol is longer than 4096 bytes";

    // --- what the app returned
    /// PEP 3333, RFC 9110 15: three digits from 200 to 599 and a reason.
    ResponseBadStatus = "response-bad-status", 500, App,
        "the app's status does not begin with three digits from 200 to 599";
    /// RFC 9110 15.2: an informational response is not the answer, and the client would wait for another one.
    ResponseInformational = "response-informational", 500, App,
        "the app's status is 1xx, which can not be a final answer";
    /// RFC 9112 4: reason-phrase is HTAB, SP, visible characters and obs-text.
    ResponseBadReason = "response-bad-reason", 500, App, "the reason in the app's status contains a control character";
    /// RFC 9110 5.1.
    ResponseBadHeaderName = "response-bad-header-name", 500, App, "the app returned a header whose name is not a token";
    /// RFC 9110 5.5, PEP 3333: no control characters; a CR or LF would split the response.
    ResponseBadHeaderValue = "response-bad-header-value", 500, App,
        "the app returned a header whose value contains a control character";
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.explanation(), self.code())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_fit_for_file_names() {
        let mut codes: Vec<_> = Error::ALL.iter().map(Error::code).collect();
        for code in &codes {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{code}");
            assert!(!code.contains("--"), "{code}: `--` separates code and description in the corpus");
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Error::ALL.len());
    }

    #[test]
    fn the_status_fits_the_fault() {
        for error in Error::ALL {
            match error.fault() {
                Fault::App => assert_eq!(error.status(), 500, "{error}"),
                Fault::Client | Fault::Proxy => {
                    assert!(matches!(error.status(), 400..=499 | 501 | 505), "{error}");
                }
            }
        }
    }
}
