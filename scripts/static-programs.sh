#!/usr/bin/env bash
# What cargo calls in place of rustc for the crates of this repository (RUSTC_WORKSPACE_WRAPPER): the three programs are
# linked statically, everything else is compiled as ever. So libraries that `cargo build` compiled are used again.
case " $* " in
  *' --crate-name netobserv_agent '*' --crate-type bin '* | *' --crate-name netobserv_collector '*' --crate-type bin '* | \
    *' --crate-name oc_netobserv '*' --crate-type bin '*)
    exec "$@" -Ctarget-feature=+crt-static -Cstrip=symbols
    ;;
  *) exec "$@" ;;
esac
