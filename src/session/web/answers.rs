//! What the layers have in common: how they pass a request on, what they answer themselves, and how they set a cookie.

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};

/// The service that is ready, to go with a request; a copy stays.
pub(super) fn take_ready<I: Clone>(service: &mut I) -> I {
    let copy = service.clone();
    std::mem::replace(service, copy)
}

/// An answer without a body.
pub(super) fn empty<R: Default>(status: StatusCode) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = status;
    response
}

/// Sets a cookie. A cache that kept the answer would hand it to others.
pub(super) fn set_cookie<R>(response: &mut Response<R>, cookie: HeaderValue) {
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, cookie);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
