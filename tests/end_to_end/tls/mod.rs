//! Mutual TLS between the services: who gets in, who does not and what is said about it, and certificates that change.

mod masker;
mod openssl;
mod outside;
mod peers;
mod pipeline;
mod plain;
mod rotation;
mod settings;
