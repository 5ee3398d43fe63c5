//! The kernel programs: one file for each feature, and `programs` with the entry points.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod bpf;
mod counters;
mod device;
mod dns;
mod drops;
mod ended;
mod filter;
mod flows;
mod fragments;
mod packet;
mod packets;
mod programs;
mod rtt;
mod segments;
mod settings;
mod sockets;
mod source;
mod verdicts;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
