// Why this exists: `coclr completion SHELL`: tab completion, made from the same definition as the help.
using System.CommandLine;

namespace CoCLR.Cli.Commands;

internal static class CompletionCommand
{
    public static Command Create()
    {
        var shell = new Argument<string>("shell") { Description = "bash, zsh or fish." };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command =
            new Command("completion", "Prints a completion script for a shell.\n\nExample:\n  source <(coclr completion bash)") { shell };
        command.SetAction(parsed =>
        {
            Console.WriteLine(parsed.GetValue(shell) switch
            {
                "zsh" => "_coclr() { local -a found; found=(${(f)\"$(${words[1]} \"[suggest:${CURSOR}]\" \"${words[2,-1]}\" "
                    + "2>/dev/null)\"}); compadd -a found }\ncompdef _coclr coclr ./coclr",
                "fish" => "complete -c coclr -f -a '(coclr \"[suggest:\"(commandline -C)\"]\" (commandline -cp | string replace -r "
                    + "\"^\\S+\\s*\" \"\") 2>/dev/null)'",
                _ =>
                    "_coclr() { local line=\"${COMP_LINE#* }\"; local skipped=$(( ${#COMP_LINE} - ${#line} )); COMPREPLY=( $(compgen -W "
                        + "\"$(\"${COMP_WORDS[0]}\" \"[suggest:$(( COMP_POINT - skipped ))]\" \"$line\" 2>/dev/null)\" -- "
                            + "\"${COMP_WORDS[COMP_CWORD]}\") ); }\ncomplete -o default -F _coclr coclr ./coclr",
            });
            return 0;
        });
        return command;
    }
}
