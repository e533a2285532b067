//! Mutual TLS between the services: which peers are accepted, what is logged about the others, and
//! certificate rotation.

mod masker;
mod openssl;
mod outside;
mod peers;
mod pipeline;
mod plain;
mod rotation;
mod settings;
