//! Why a connection does not work: what the records of a capture show, and what the objects of a cluster decide.
//!
//! A library of plain functions: it opens no file and no connection. [`traffic`] finds what went wrong in the records; [`cluster`] is
//! a snapshot of the objects, of which [`policy`] decides by NetworkPolicies and [`service`] finds what is wrong with a service; [`explain`]
//! joins both. [`demand`] is what a script asks of a capture, and [`report`] the forms in which it is answered.

pub mod admin;
pub mod cluster;
pub mod demand;
pub mod document;
pub mod explain;
pub mod finding;
pub mod measure;
pub mod node;
pub mod objects;
pub mod observe;
pub mod policy;
pub mod report;
pub mod scan;
pub mod service;
pub mod traffic;
