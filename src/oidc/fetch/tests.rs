use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::StreamExt;

use super::*;
use crate::oidc::settings::EgressProxy;

/// Bytes without end, each chunk after `pause`.
fn endless(chunk: usize, pause: Duration) -> Body {
    let bytes = bytes::Bytes::from(vec![b' '; chunk]);
    let chunks = futures_util::stream::repeat(bytes).then(move |bytes| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(bytes)
    });
    Body::from_stream(chunks)
}

/// A provider that answers badly, and how often its redirect was followed.
async fn provider() -> (url::Url, Arc<AtomicUsize>) {
    let followed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&followed);
    let app = Router::new()
        .route("/long", get(|| async { vec![b' '; MAX_ANSWER + 1] }))
        .route("/exact", get(|| async { vec![b' '; MAX_ANSWER] }))
        .route("/endless", get(|| async { endless(64 * 1024, Duration::ZERO) }))
        .route("/dribble", get(|| async { endless(1, Duration::from_millis(50)) }))
        .route("/silent", get(|| async { std::future::pending::<()>().await }))
        .route("/away", get(|| async { (StatusCode::FOUND, [("location", "/target")]).into_response() }))
        .route("/target", get(move || async move { count.fetch_add(1, Ordering::Relaxed).to_string() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url::Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, followed)
}

fn fetch(timeout: u64) -> Fetch {
    let timeout = Some(Duration::from_secs(timeout));
    Fetch::new(&ProviderSettings { allow_private: true, timeout, ..ProviderSettings::default() }, None)
        .unwrap()
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let (url, _) = provider().await;
    let get = async |path: &str, timeout| fetch(timeout).get_json(&url.join(path).unwrap()).await;
    assert_eq!(get("/exact", 10).await.unwrap().body.len(), MAX_ANSWER);
    assert_eq!(get("/long", 10).await.unwrap_err(), FetchError::TooLong);
    assert_eq!(get("/endless", 10).await.unwrap_err(), FetchError::TooLong);
    for path in ["/dribble", "/silent"] {
        assert_eq!(get(path, 1).await.unwrap_err(), FetchError::Timeout(1), "{path}");
    }
}

/// A resolver that answers late takes from the time of the call, and none makes the call longer.
#[tokio::test(start_paused = true)]
async fn the_name_and_the_answer_share_the_time_of_a_call() {
    let resolves_after = async |seconds| {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    };
    for (time, resolved, wanted, took) in [
        (10, 0, FetchError::Timeout(10), 10),
        (10, 7, FetchError::Timeout(10), 10),
        (3, 2, FetchError::Timeout(3), 3),
        (10, 9, FetchError::Connect("the name does not resolve in time".to_owned()), 8),
        (3, 9, FetchError::Connect("the name does not resolve in time".to_owned()), 3),
    ] {
        let started = Instant::now();
        let silent = std::future::pending::<Result<(), FetchError>>();
        let error = within(Duration::from_secs(time), resolves_after(resolved), silent).await.unwrap_err();
        assert_eq!((error, started.elapsed().as_secs()), (wanted, took), "{resolved} s of {time} s");
    }
}

/// A gigabyte of spaces in a megabyte of gzip: it is not asked for and not unpacked, whoever sends it.
#[tokio::test]
async fn n84_compressed_answers_are_refused_and_not_unpacked() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let spaces = vec![b' '; 1024 * 1024];
    for _ in 0..1024 {
        std::io::Write::write_all(&mut packer, &spaces).unwrap();
    }
    let bomb = bytes::Bytes::from(packer.finish().unwrap());
    let (asked, sent) = (Arc::new(std::sync::Mutex::new(Vec::new())), bomb.clone());
    let heard = Arc::clone(&asked);
    let answer = move |axum::extract::Path(coding): axum::extract::Path<String>, headers: HeaderMap| async move {
        heard.lock().unwrap().push(headers["accept-encoding"].clone());
        ([("content-encoding", coding)], bomb)
    };
    let app = Router::new().route("/{coding}", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url::Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    for coding in ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "identity, gzip"] {
        let error = fetch(10).get_json(&url.join(coding).unwrap()).await.unwrap_err();
        assert_eq!(error, FetchError::Encoded(coding.to_owned()));
        assert!(error.to_string().contains(coding) && error.to_string().contains("identity"), "{error}");
    }
    // Called what it is not, it stays what it is.
    let answer = fetch(10).get_json(&url.join("identity").unwrap()).await.unwrap();
    assert!(answer.body == sent, "{} bytes", answer.body.len());
    assert!(asked.lock().unwrap().iter().all(|value| value == "identity"));
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let (url, followed) = provider().await;
    let answer = fetch(10).get_json(&url.join("/away").unwrap()).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(followed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn addresses_are_judged_before_a_call() {
    let (url, _) = provider().await;
    let strict = Fetch::new(&ProviderSettings::default(), None).unwrap();
    assert!(matches!(strict.get_json(&url).await.unwrap_err(), FetchError::Reach(_)));
    let metadata = url::Url::parse("http://169.254.169.254/latest/meta-data").unwrap();
    assert!(matches!(fetch(1).get_json(&metadata).await.unwrap_err(), FetchError::Reach(_)));
}

/// A host that lets connections wait costs two seconds, and nothing was sent.
#[tokio::test]
async fn a_connection_that_does_not_come_is_given_up() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    // As many as the backlog holds, and one more that shows that it is full.
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(stream.unwrap());
        assert!(waiting.len() < 16, "the backlog does not fill");
    }
    let started = std::time::Instant::now();
    let url = url::Url::parse(&format!("http://{address}/")).unwrap();
    assert!(matches!(fetch(10).get_json(&url).await.unwrap_err(), FetchError::Connect(_)));
    let took = started.elapsed().as_millis();
    assert!((1_900..2_800).contains(&took), "{took} ms");
}

/// Hosts that are called past the proxy are judged as without one, and others are left to it.
#[tokio::test]
async fn what_is_called_past_the_proxy_is_judged_by_its_address() {
    let (provider, _) = provider().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy =
        url::Url::parse(&format!("http://localhost:{}", listener.local_addr().unwrap().port())).unwrap();
    let settings = ProviderSettings {
        proxy: EgressProxy::parse(proxy.as_str()),
        timeout: Some(Duration::from_secs(2)),
        ..ProviderSettings::default()
    };
    let local = url::Url::parse(&format!("http://localhost:{}/exact", provider.port().unwrap())).unwrap();
    let direct = |name: &str| (name == "NO_PROXY").then(|| "localhost".to_owned());
    let strict = Fetch::among(&settings, None, &direct).unwrap();
    let refused = strict.get_json(&local).await.unwrap_err();
    assert!(matches!(refused, FetchError::Reach(ReachError::Refused { .. })), "{refused}");
    let lenient = Fetch::among(&ProviderSettings { allow_private: true, ..settings.clone() }, None, &direct);
    assert_eq!(lenient.unwrap().get_json(&local).await.unwrap().status, 200, "directly");
    // The proxy itself may be anywhere.
    let elsewhere = url::Url::parse("https://name.that.only.the.proxy.knows/").unwrap();
    let (answer, asked) = tokio::join!(strict.get_json(&elsewhere), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 64];
        let length = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    assert!(answer.is_err());
    assert!(asked.starts_with("CONNECT name.that.only.the.proxy.knows:443 "), "{asked}");
}

/// As the plugin did, whose language does it for every program: https but what is here or named in `NO_PROXY`.
#[tokio::test]
async fn the_proxy_of_the_environment_gets_https() {
    let (provider, _) = provider().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("user:p%40ss@{}", listener.local_addr().unwrap());
    let environment = |name: &str| match name {
        "https_proxy" => Some(proxy.clone()),
        "NO_PROXY" => Some("direct.example".to_owned()),
        _ => None,
    };
    let settings = ProviderSettings { timeout: Some(Duration::from_secs(2)), ..ProviderSettings::default() };
    let lenient = ProviderSettings { allow_private: true, ..settings.clone() };
    let fetch = |settings: &ProviderSettings| Fetch::among(settings, None, &environment).unwrap();
    assert_eq!(
        fetch(&lenient).get_json(&provider.join("/exact").unwrap()).await.unwrap().status,
        200,
        "http"
    );
    for direct in ["https://localhost:1/", "https://127.0.0.1:1/", "https://direct.example/"] {
        let refused = fetch(&settings).get_json(&url::Url::parse(direct).unwrap()).await.unwrap_err();
        assert!(matches!(refused, FetchError::Reach(_)), "{direct}: {refused}");
    }
    let strict = fetch(&settings);
    let elsewhere = url::Url::parse("https://name.that.only.the.proxy.knows/").unwrap();
    let (answer, asked) = tokio::join!(strict.get_json(&elsewhere), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 512];
        let length = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.unwrap();
        String::from_utf8_lossy(&head[..length]).to_ascii_lowercase()
    });
    assert!(answer.is_err());
    assert!(asked.starts_with("connect name.that.only.the.proxy.knows:443 "), "{asked}");
    assert!(asked.contains("proxy-authorization: basic dxnlcjpwqhnz"), "{asked}");
    let odd = |name: &str| (name == "HTTPS_PROXY").then(|| "socks5://x".to_owned());
    assert!(Fetch::among(&settings, None, &odd).is_err(), "never past a proxy that is asked for");
}
