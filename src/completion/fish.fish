# Completion of oc-netobserv and kubectl-netobserv in fish: the program itself knows what fits.
function __oc_netobserv_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l found (command $words[1] __complete $words[2..-1] "$typed" 2>/dev/null)
    # The last line is for other shells.
    if test (count $found) -gt 1
        printf '%s\n' $found[1..-2]
    else
        # A path, also behind "--output-dir=".
        set -l before (string match -r -- '^--[^=]*=' $typed)
        for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$typed"))
            echo "$before$path"
        end
    end
end
complete -c oc-netobserv -f -a '(__oc_netobserv_complete)'
complete -c kubectl-netobserv -f -a '(__oc_netobserv_complete)'
