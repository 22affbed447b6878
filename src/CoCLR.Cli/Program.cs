// Why this exists: the only process that people and pods start. Puts the verbs together and turns every error into one sentence and an exit code.
using System.CommandLine;
using CoCLR.Cli.Commands;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Cli;

internal static class Program
{
    public static async Task<int> Main(string[] args)
    {
        AppDomain.CurrentDomain.UnhandledException += (_, e) => ProcessEnd.With(Unexpected((Exception)e.ExceptionObject));
        return ProcessEnd.With(await RunAsync(args).ConfigureAwait(false));
    }

    private static async Task<int> RunAsync(string[] args)
    {
        var root = new RootCommand("Self-supervised video representation learning: InfoNCE, UberNCE, CMC and CoCLR on RGB and optical flow.\n\nBegin with: coclr demo\n\nIn a clone, ./coclr has two verbs more: test (every test) and bench (the benchmarks).")
        {
            DemoCommand.Create(),
            UpCommand.Create(),
            RunCommand.Create(),
            PlanCommand.Create(),
            StageCommand.Create(),
            DeliverCommand.Create(),
            DataCommand.Create(),
            EmbedCommand.Create(),
            SearchCommand.Create(),
            ExchangeCommands.CreateExport(),
            ExchangeCommands.CreateImport(),
            ReportCommand.Create(),
            RemoteCommands.CreateApply(),
            RemoteCommands.CreateGet(),
            RemoteCommands.CreateWatch(),
            CrdCommand.Create(),
            DoctorCommand.Create(),
            CheckCommand.Create(),
            CompletionCommand.Create(),
        };

        // What a newcomer types first: nothing, or `help VERB`.
        ParseResult parsed = root.Parse(args is [] ? ["--help"] : args is ["help", .. var verb] ? [.. verb, "--help"] : args);
        bool suggesting = args.Length > 0 && args[0].StartsWith("[suggest", StringComparison.Ordinal);
        if (parsed.Errors.Count > 0 && !suggesting)
        {
            if (parsed.CommandResult.Command is { Subcommands.Count: > 0 } group && parsed.UnmatchedTokens is [var unknown, ..])
            {
                string? near = SchemaValidator.Suggestion(unknown, group.Subcommands.Select(c => c.Name));
                Say.Error($"'{unknown}' is not a verb{(group == root ? "" : $" of coclr {group.Name}")}{(near == null ? "" : $"; did you mean '{near}'?")}");
            }
            else
            {
                foreach (System.CommandLine.Parsing.ParseError error in parsed.Errors)
                {
                    Say.Error(error.Message);
                }
            }

            Say.Error($"see: coclr {(parsed.CommandResult.Command == root ? "" : parsed.CommandResult.Command.Name + " ")}--help");
            return ExitCodes.Usage;
        }

        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }).ConfigureAwait(false);
        }
        catch (UserErrorException e)
        {
            Say.Error(e.Message);
            return e.ExitCode;
        }
        catch (OperationCanceledException)
        {
            Say.Error("stopped");
            return ExitCodes.Terminated;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Say.Error(e.Message);
            return ExitCodes.Failed;
        }
        catch (Exception e) when (e is not UserErrorException)
        {
            return Unexpected(e);
        }
    }

    /// <summary>Nothing that a person can fix: still one sentence, and where it happened for a report.</summary>
    private static int Unexpected(Exception e)
    {
        Say.Error(e is OutOfMemoryException
            ? "the memory of this machine is full: end what else uses it, or give this process more."
            : $"unexpected {e.GetType().Name}: {e.Message.Split('\n')[0]} ({e.StackTrace?.Split('\n')[0].Trim()}). "
                + "Please report it with the command line.");
        return ExitCodes.Failed;
    }
}
