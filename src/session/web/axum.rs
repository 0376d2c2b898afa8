use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::bearer::Bearer;
use super::error::SessionError;
use super::session::Session;
use crate::session::AsyncSessionStore;

impl<T, S> FromRequestParts<T> for Session<S>
where
    T: Sync,
    S: AsyncSessionStore + 'static,
{
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or((
            StatusCode::INTERNAL_SERVER_ERROR,
            "the route has no `SessionLayer` for this store",
        ))
    }
}

impl<T: Sync> FromRequestParts<T> for Bearer {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or((
            StatusCode::INTERNAL_SERVER_ERROR,
            "the route has no `BearerLayer`",
        ))
    }
}

impl IntoResponse for SessionError {
    /// The status, and nothing that would help to find out about others.
    fn into_response(self) -> Response {
        self.status().into_response()
    }
}
