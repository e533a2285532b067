//! Authorizes callers by the names in their certificates.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::Request;
use tonic::server::NamedService;

use super::connection::TlsPeer;
use super::refusal_reason::RefusalReason;
use super::refusals::Refusals;

/// A service that only authorized callers reach; without `rule` every peer may call.
#[derive(Clone, Debug)]
pub(crate) struct CallerAuthorization<S> {
    service: S,
    rule: Option<Arc<CallerRule>>,
}

#[derive(Debug)]
struct CallerRule {
    callers: Vec<String>,
    refusals: Arc<Refusals>,
}

impl<S> CallerAuthorization<S> {
    pub(crate) fn everyone(service: S) -> Self {
        Self { service, rule: None }
    }

    pub(crate) fn only(service: S, callers: Vec<String>, refusals: Arc<Refusals>) -> Self {
        Self { service, rule: Some(Arc::new(CallerRule { callers, refusals })) }
    }
}

impl CallerRule {
    fn check(&self, service: &str, peer: Option<&TlsPeer>) -> Result<(), Status> {
        let peer = peer.ok_or_else(|| Status::unauthenticated("the connection has no certificate"))?;
        if self.callers.iter().any(|caller| peer.certificate.is(caller)) {
            return Ok(());
        }
        let callers = self.callers.join(", ");
        let why = format!("the certificate names none of those who may call {service}: {callers}");
        self.refusals.refused("call", peer.address, Some(&peer.certificate), RefusalReason::WrongRole, &why);
        Err(Status::permission_denied(format!("{why}; it names {}", peer.certificate)))
    }
}

impl<S> Service<Request<Body>> for CallerAuthorization<S>
where
    S: Service<Request<Body>, Error = Infallible> + NamedService,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verdict = match &self.rule {
            Some(rule) => rule.check(S::NAME, request.extensions().get::<TlsPeer>()),
            None => Ok(()),
        };
        match verdict {
            Ok(()) => {
                self.service.call(request).map(|answer| answer.map(IntoResponse::into_response)).boxed()
            }
            Err(status) => std::future::ready(Ok(status.into_http::<Body>().into_response())).boxed(),
        }
    }
}

impl<S: NamedService> NamedService for CallerAuthorization<S> {
    const NAME: &'static str = S::NAME;
}
