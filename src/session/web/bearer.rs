use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::answers::empty;
use crate::session::token::{ClaimsRef, TokenVerifier};

/// Lets only requests through that bring an access token, `Authorization: Bearer` (RFC 6750), and gives
/// them its claims as a [`Bearer`].
///
/// Others are answered 401, without a reason that would help to guess one.
#[derive(Clone)]
pub struct BearerLayer(Arc<TokenVerifier>);

impl BearerLayer {
    /// Tokens that this verifier takes.
    pub fn new(verifier: Arc<TokenVerifier>) -> Self {
        Self(verifier)
    }
}

impl<I> Layer<I> for BearerLayer {
    type Service = BearerService<I>;

    fn layer(&self, inner: I) -> Self::Service {
        let verifier = Arc::clone(&self.0);
        BearerService { verifier, inner }
    }
}

/// What the access token of a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bearer {
    /// Whose it is (`sub`).
    pub subject: Option<String>,
    /// The log-in it comes from (`sid`).
    pub family: Option<String>,
    /// When it ends: seconds since 1970.
    pub expires: u64,
    /// All claims, as JSON.
    pub claims: String,
}

impl Bearer {
    fn of(claims: &ClaimsRef<'_>) -> Self {
        Self {
            subject: claims.subject().map(String::from),
            family: claims.family().map(String::from),
            expires: claims.expires(),
            claims: claims.as_json().to_owned(),
        }
    }
}

/// The service of a [`BearerLayer`].
#[derive(Clone)]
pub struct BearerService<I> {
    verifier: Arc<TokenVerifier>,
    inner: I,
}

impl<I, B, R> Service<Request<B>> for BearerService<I>
where
    I: Service<Request<B>, Response = Response<R>>,
    I::Future: Send + 'static,
    I::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = I::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, I::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let presented = presented(request.headers());
        let verify = |token| self.verifier.verify(token, Bearer::of).map_err(|_| INVALID);
        match presented.and_then(verify) {
            Ok(bearer) => {
                request.extensions_mut().insert(bearer);
                Box::pin(self.inner.call(request))
            }
            Err((status, challenge)) => {
                let mut response = empty(status);
                let challenge = HeaderValue::from_static(challenge);
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                Box::pin(std::future::ready(Ok(response)))
            }
        }
    }
}

/// The token that a request presents, or what to answer.
fn presented(headers: &HeaderMap) -> Result<&str, (StatusCode, &'static str)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(MISSING)?;
    if values.next().is_some() {
        return Err(TWICE);
    }
    let text = value.to_str().map_err(|_| INVALID)?;
    let (scheme, token) = text.split_once(' ').ok_or(MISSING)?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(MISSING);
    }
    Ok(token.trim_matches(' '))
}

impl fmt::Debug for BearerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerLayer(..)")
    }
}

impl<I> fmt::Debug for BearerService<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerService(..)")
    }
}

const MISSING: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "Bearer");
const INVALID: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"");
const TWICE: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "Bearer error=\"invalid_request\"");
