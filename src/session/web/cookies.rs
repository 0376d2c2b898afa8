use std::borrow::Cow;

use http::HeaderMap;
use http::header::COOKIE;

use crate::session::HostCookie;

/// The value of a cookie that a request brings. None if two cookies of the name come: one of them is not ours.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &HostCookie) -> Option<Cow<'a, str>> {
    let texts = headers.get_all(COOKIE).iter();
    let texts: Vec<&str> = texts.filter_map(|value| value.to_str().ok()).collect();
    match &*texts {
        [] => None,
        [text] => name.find(text).map(Cow::Borrowed),
        texts => {
            let value = name.find(&texts.join("; "))?.to_owned();
            Some(Cow::Owned(value))
        }
    }
}
