# shellcheck shell=bash
# Debian and RPM packages of the plugin, by dpkg-deb and rpmbuild. Sourced by package.sh, which sets version, output and work.
# shellcheck disable=SC2154

package_name=netobserv-cli
summary='Capture network flows and packets of a Kubernetes or OpenShift cluster on demand'
details='A plugin of oc and kubectl ("oc netobserv"). It puts an eBPF agent on each node
and one collector in the cluster, shows flows and packets in the terminal, copies
JSON, SQLite and pcapng files to this machine, and leaves nothing behind.'

# installed TREE ROOT: the files of an archive where a distribution has them.
installed() {
  local share=$2/usr/share page
  mkdir -p "$2/usr/bin" "$share/man/man1" "$share/doc/$package_name" \
    "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
  cp "$1/build/oc-netobserv" "$1/build/kubectl_complete-netobserv" "$2/usr/bin/"
  ln -s oc-netobserv "$2/usr/bin/kubectl-netobserv"
  cp "$1/completions/oc-netobserv.bash" "$share/bash-completion/completions/oc-netobserv"
  ln -s oc-netobserv "$share/bash-completion/completions/kubectl-netobserv"
  cp "$1/completions/_oc-netobserv" "$share/zsh/vendor-completions/"
  cp "$1/completions/oc-netobserv.fish" "$share/fish/vendor_completions.d/"
  for page in "$1"/man/*.1; do gzip -9nc "$page" >"$share/man/man1/${page##*/}.gz"; done
  gzip -9nc CHANGELOG.md >"$share/doc/$package_name/changelog.gz"
  find "$2" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# system_packages TREE ARCH: what can be made here of both kinds.
system_packages() {
  local root=$work/root-$2
  installed "$1" "$root"
  if command -v dpkg-deb >/dev/null; then debian_package "$root" "$2"; else note "SKIPPED: .deb for $2: no dpkg-deb"; fi
  if command -v rpmbuild >/dev/null; then rpm_package "$root" "$2"; else note "SKIPPED: .rpm for $2: no rpmbuild (Debian: rpm)"; fi
}

debian_arch() { if [[ $1 == ppc64le ]]; then echo ppc64el; else echo "$1"; fi; }

debian_package() {
  local root=$work/deb-$2 arch file
  arch=$(debian_arch "$2")
  cp -a "$1" "$root"
  mkdir "$root/DEBIAN"
  cat >"$root/usr/share/doc/$package_name/copyright" <<COPYRIGHT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: $package_name

Files: *
Copyright: the netobserv-cli authors
License: Apache-2.0
 The text is in /usr/share/common-licenses/Apache-2.0.
COPYRIGHT
  cat >"$root/DEBIAN/control" <<CONTROL
Package: $package_name
Version: $version
Architecture: $arch
Maintainer: netobserv-cli maintainers <maintainers@netobserv-rs.invalid>
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f1)
Section: net
Priority: optional
Description: $summary
 ${details//$'\n'/$'\n '}
CONTROL
  (cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
  find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  file=$output/${package_name}_${version}_$arch.deb
  dpkg-deb --root-owner-group --uniform-compression -Zxz --build "$root" "$file" >/dev/null
  note "$file: $(wc -c <"$file") bytes"
}

rpm_package() {
  local top=$work/rpm-$2 arch=$2 file
  case $2 in amd64) arch=x86_64 ;; arm64) arch=aarch64 ;; esac
  mkdir -p "$top/tree/usr/share/licenses/$package_name"
  cp -a "$1/." "$top/tree/"
  # Fedora and its relatives look for them here.
  mv "$top/tree/usr/share/zsh/vendor-completions" "$top/tree/usr/share/zsh/site-functions"
  cp LICENSE "$top/tree/usr/share/licenses/$package_name/"
  cat >"$top/spec" <<SPEC
Name: $package_name
Version: ${version//-/\~}
Release: 1
Summary: $summary
License: Apache-2.0
AutoReqProv: no
%global debug_package %{nil}
%global __os_install_post %{nil}
%description
$details
%install
cp -a $top/tree/. %{buildroot}/
%files
%defattr(-,root,root)
$(cd "$top/tree" && find usr \( -type f -o -type l \) ! -path 'usr/share/licenses/*' ! -path 'usr/share/doc/*' | LC_ALL=C sort | sed 's|^|/|')
%doc /usr/share/doc/$package_name
%license /usr/share/licenses/$package_name
SPEC
  rpmbuild -bb --quiet --target "$arch-linux" --define "_topdir $top" --define "_rpmdir $top/out" --define '_buildhost localhost' \
    --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' --define '_build_id_links none' \
    --define 'source_date_epoch_from_changelog 0' "$top/spec" >"$top/log" 2>&1 || { cat "$top/log" >&2 && die 'rpmbuild failed'; }
  file=$output/$package_name-${version//-/\~}-1.$arch.rpm
  cp "$top/out/$arch/${file##*/}" "$file"
  note "$file: $(wc -c <"$file") bytes"
}
