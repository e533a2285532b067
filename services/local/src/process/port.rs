//! A port for a program that cannot choose one itself.

use std::net::{Ipv4Addr, TcpListener};

/// A port of loopback that is free now. Another process may take it first.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
