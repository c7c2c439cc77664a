// What is asked of both programs, and where they differ on purpose.

const get = (host, target, ...headers) => lines(`GET ${target} HTTP/1.1`, `Host: ${host}`, ...headers)
// Go's client asks services for gzip where a client does not say what it takes.
const lines = (...all) => [...all, "Accept-Encoding: identity", "Connection: close", "", ""].join("\r\n")
const rules = (target, ...headers) => get("rules.test", target, ...headers)
const mw = (target, ...headers) => get("mw.test", target, ...headers)

// Name, bytes, and the entry point if it is not `web`.
export const requests = [
  // Hosts.
  ["host", get("host.test", "/")],
  ["host in capitals", get("HOST.Test", "/")],
  ["host with port", get("host.test:8080", "/")],
  ["host with a dot", get("host.test.", "/")],
  ["host unknown", get("unknown.test", "/")],
  ["no host at all", lines("GET / HTTP/1.1")],
  ["two hosts", get("host.test", "/", "Host: a.test")],
  ["either host", get("b.test", "/")],
  ["host regexp", get("app-v1.regexp.test", "/")],
  ["host regexp misses", get("app-vx.regexp.test", "/")],
  ["absolute target", lines("GET http://host.test/abs HTTP/1.1", "Host: other.test")],
  ["HTTP/1.0", lines("GET / HTTP/1.0", "Host: host.test")],
  // Paths, priorities and the other matchers.
  ...["/exact", "/exact/", "/exact?x=1", "/EXACT", "/api", "/apifoo", "/api/longer/x", "/api/urgent/x", "/v1/x", "/vx/x",
    "/q?kind=blue", "/q?kind=red&kind=blue", "/q?kind=red", "/q?n=12", "/q?n=1x", "/q?kind=bl%75e", "/nothing"]
    .map(target => [`path ${target}`, rules(target)]),
  ["method", lines("PUT /m HTTP/1.1", "Host: rules.test", "Content-Length: 0")],
  ["method of ours", lines("BREW /m HTTP/1.1", "Host: host.test")],
  ["header", rules("/h", "X-Kind: blue")],
  ["header twice", rules("/h", "X-Kind: red", "X-Kind: blue")],
  ["header regexp", rules("/h", "X-Kind: grey")],
  ["header misses", rules("/h", "X-Kind: green")],
  ["not", get("not.test", "/public")],
  ["not misses", get("not.test", "/secret/x")],
  ["client address", get("client.test", "/")],
  ["client address misses", get("client.test", "/ten")],
  ["TLS only", get("tls.test", "/")],
  // Targets.
  ...["/a//b", "/a/./b", "/a/../b", "/../x", "/a/%2e%2e/b", "/a%2Fb", "/a%5Cb", "/a%20b", "/%41", "/a;b?c;d", "/a?b?c", "/a%00b",
    "/a%25b", "/a%3Fb", "/a%23b", "/%C3%A9", "/a?", "/a?x=%zz", "/a%zz", "//x/y", "/a|b", "/a\"b", "/~a/*'()!", "/a?q=[1]"]
    .flatMap(target => ["web", "raw"].map(entry => [`target ${target} at ${entry}`, get("echo.test", target), entry])),
  ["asterisk", lines("OPTIONS * HTTP/1.1", "Host: echo.test")],
  // Headers that proxies know.
  ["forwarded, not trusted", forwarded(), "web"],
  ["forwarded, trusted", forwarded(), "trusting"],
  ["forwarded for several, trusted", get("echo.test", "/", "X-Forwarded-For: 1.1.1.1, 2.2.2.2", "X-Forwarded-For: 3.3.3.3"), "trusting"],
  ["hop by hop", get("echo.test", "/", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Connection: x", "TE: trailers, gzip", "Trailer: X", "Proxy-Authorization: Basic eDp5")],
  ["upgrade to h2c", get("echo.test", "/", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")],
  ["user agent kept", get("echo.test", "/", "User-Agent: probe/1")],
  ["cookies", get("echo.test", "/", "Cookie: a=1", "Cookie: b=2")],
  ["a body", lines("POST /body HTTP/1.1", "Host: echo.test", "Content-Length: 5") + "hello"],
  ["chunks", lines("POST /body HTTP/1.1", "Host: echo.test", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n"],
  ["broken chunks", lines("POST /body HTTP/1.1", "Host: echo.test", "Transfer-Encoding: chunked") + "xyz\r\nhello\r\n0\r\n\r\n"],
  ["expect", lines("POST /body HTTP/1.1", "Host: echo.test", "Expect: 100-continue", "Content-Length: 5") + "hello"],
  ["a header name with a space", get("echo.test", "/", "Bad Name: 1")],
  ["a header with a line feed inside", get("echo.test", "/", "X-A: 1\n X-B: 2")],
  ["length and chunks", lines("POST / HTTP/1.1", "Host: echo.test", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n"],
  // Middlewares.
  ...["/strip", "/strip/", "/strip/x", "/strip/deep/x", "/stripx", "/strip/a%2Fb?x=1", "/strip//x"].map(target => [`strip ${target}`, mw(target)]),
  ["strip raw", mw("/strip//x/../y"), "raw"],
  ["add", mw("/add/x?y=1")],
  ["add escaped", mw("/add/a%2Fb")],
  ["replace", mw("/replace/x?y=1")],
  ["chain", mw("/chain/x")],
  ["auth without", mw("/auth")],
  ["auth with", mw("/auth", `Authorization: Basic ${Buffer.from("alice:test").toString("base64")}`)],
  ["auth wrong", mw("/auth", `Authorization: Basic ${Buffer.from("alice:wrong").toString("base64")}`)],
  ["auth field forged", mw("/auth", "X-Known: root", `Authorization: Basic ${Buffer.from("alice:test").toString("base64")}`)],
  ["headers", mw("/headers", "X-Removed: 1", "X-Added: old")],
  ["cors preflight", lines("OPTIONS /cors HTTP/1.1", "Host: mw.test", "Origin: https://good.test", "Access-Control-Request-Method: PUT")],
  ["cors preflight, foreign", lines("OPTIONS /cors HTTP/1.1", "Host: mw.test", "Origin: https://bad.test", "Access-Control-Request-Method: PUT")],
  ["cors", mw("/cors", "Origin: https://good.test")],
  ["cors, foreign", mw("/cors", "Origin: https://bad.test")],
  ["secure", mw("/secure")],
  ["to https", mw("/to-https/x?y=1")],
  ["to https, POST", lines("POST /to-https HTTP/1.1", "Host: mw.test", "Content-Length: 0")],
  ["to other", mw("/to-other/x?y=1")],
  ["to other, port", get("mw.test:80", "/to-other/x")],
  // Services.
  ["host of the server", get("nohost.test", "/")],
  ["base path", get("base.test", "/x?y=1")],
  ["nobody listens", get("dead.test", "/")],
  ["no servers", get("empty.test", "/")],
  ...[204, 304, 404, 500, 503].map(status => [`status ${status}`, get("echo.test", `/status/${status}`)]),
  ["HEAD", lines("HEAD / HTTP/1.1", "Host: echo.test")],
]

function forwarded() {
  return get("echo.test", "/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test",
    "X-Forwarded-Port: 99", "X-Forwarded-Prefix: /p", "X-Forwarded-Server: s", "X-Real-Ip: 1.2.3.4",
    "X-Forwarded-Uri: /u", "X-Forwarded-Method: PUT", "X-Forwarded-Tls-Client-Cert: c", "Forwarded: for=1.2.3.4")
}

// Differences on purpose, by name: why, and what the lines that differ look like. docs/differences.md has the reasons.
export const known = {
  "absolute target": ["a target and a Host that disagree are 400", /traefik: |portcullis: (status 400|answer )/],
  "HTTP/1.0": ["the answer says that the connection closes", /answer connection: close$/],
  "forwarded, not trusted": ["Forwarded is removed", /traefik: +received forwarded:/],
  "hop by hop": ["TE: trailers is not passed on where trailers do not come back", /traefik: +received te: trailers$/],
  "upgrade to h2c": ["HTTP2-Settings goes with the upgrade that it belongs to", /traefik: +received http2-settings:/],
  cookies: ["several lines of Cookie become one", /received cookie: /],
  "broken chunks": ["400, not 500: it is the client's fault", /traefik: +status 500$|portcullis: status 400$/],
  "a header with a line feed inside": ["folded headers are 400", /traefik: |portcullis: (status 400|answer )/],
  "length and chunks": ["two lengths are 400", /traefik: |portcullis: (status 400|answer )/],
  "status 304": ["its Content-Type stays", /portcullis: answer content-type: text.plain$/],
}
