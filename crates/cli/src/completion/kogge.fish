# Completion of kogge for fish: kogge completion fish | source
function __kogge_proposals
    set -l words (commandline -opc)
    set -l lines ($words[1] __complete $words[2..-1] (commandline -ct) 2>/dev/null)
    for line in $lines
        switch $line
            case ':0'
                __fish_complete_path (commandline -ct)
            case ':4'
            case '*'
                echo $line
        end
    end
end
complete -c kogge -f -a '(__kogge_proposals)'
