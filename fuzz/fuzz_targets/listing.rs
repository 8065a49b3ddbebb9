//! Whatever the API answers, over HTTP on loopback, is a listing or an error in words, and neither prints a signature.

#![no_main]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use extractor::{
    ApiSettings, Clock, Credential, ExportApi, HttpClient, ListingRequest, RateBudget,
    RateBudgetSettings, RetryPolicy, TokenSource,
};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

struct Service {
    api: ExportApi,
    answer: Arc<Mutex<Vec<u8>>>,
    runtime: Runtime,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base_url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = Arc::<Mutex<Vec<u8>>>::default();
    let given = Arc::clone(&answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let given = Arc::clone(&given);
            thread::spawn(move || serve(stream, &given));
        }
    });
    let runtime = Runtime::new().expect("a runtime");
    let api = runtime.block_on(async { client(base_url) });
    Service {
        api,
        answer,
        runtime,
    }
});

/// Answers each request of a connection with the bytes of the time.
fn serve(mut stream: TcpStream, answer: &Mutex<Vec<u8>>) {
    let mut request = [0; 16 * 1024];
    while stream.read(&mut request).is_ok_and(|read| read > 0) {
        let body = answer.lock().expect("no panic").clone();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream
            .write_all(&[head.as_bytes(), &body].concat())
            .is_err()
        {
            return;
        }
    }
}

fn client(base_url: String) -> ExportApi {
    let retry = RetryPolicy {
        max_attempts: 1,
        base_delay: Duration::ZERO,
        max_delay: Duration::ZERO,
        max_total_delay: Duration::ZERO,
    };
    let settings = ApiSettings {
        base_url,
        allowed_blob_hosts: Vec::new(),
        retry,
    };
    let clock = Clock::system();
    let budget = RateBudgetSettings {
        per_minute: NonZeroU32::MAX,
        per_hour: NonZeroU32::MAX,
        max_wait: Duration::ZERO,
        state_file: None,
    };
    let http = HttpClient::new(Duration::from_secs(5));
    let credential = Credential::Token("token".to_owned().into());
    let tokens = TokenSource::new(
        credential,
        http.clone(),
        settings.retry.clone(),
        clock.clone(),
    )
    .expect("credential");
    let budget = RateBudget::new(budget, clock.clone());
    ExportApi::new(settings, Arc::new(tokens), budget, http, clock).expect("settings")
}

fuzz_target!(|data: &[u8]| {
    let service = &*SERVICE;
    *service.answer.lock().expect("no panic") = data.to_vec();
    let request = ListingRequest {
        endpoint: "/api/machines/InfoGatheringExport".to_owned(),
        permission: "Vulnerability.Read.All".to_owned(),
        sas_valid_hours: None,
    };
    match service.runtime.block_on(service.api.list(&request)) {
        Ok(listing) => {
            assert!(serde_json::from_slice::<serde_json::Value>(data).is_ok());
            let withheld = format!("{listing:?}")
                .matches("?<signature withheld>")
                .count();
            assert_eq!(withheld, listing.blobs.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
