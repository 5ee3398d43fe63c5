//! Why a connection does not work: what the records of a capture show, and what the objects of a cluster decide.
//!
//! A library of plain functions: it opens no file and no connection. [`cluster`] is a snapshot of the objects, [`policy`] decides by
//! NetworkPolicies, [`service`] finds what is wrong with a service.

pub mod cluster;
pub mod objects;
pub mod policy;
pub mod service;
