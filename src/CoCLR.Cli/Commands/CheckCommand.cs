// Why this exists: `coclr check`: whether this machine's device computes what a processor computes, and ends as it should.
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Engine;
using CoCLR.Engine.Checks;
using CoCLR.Runs;

namespace CoCLR.Cli.Commands;

internal static class CheckCommand
{
    public static Command Create()
    {
        var device =
            new Option<string>("--device") { Description = "cuda, cuda:N or cpu.", DefaultValueFactory = _ => "cuda", HelpName = "DEVICE" };
        var quick = new Option<bool>("--quick") { Description = "Smaller networks and clips: less is seen, sooner." };
        var only = new Option<string?>("--only") { Description = "Checks whose name contains this.", HelpName = "TEXT" };
        Option<bool> json = Options.Json();
        var command = new Command(
            "check",
            "Compares a device with the processor: features, gradients, losses, a step of each method, augmentation, flow and evaluation "
                + "in fp32, TF32 and bf16; ends trainings by signals and by a full memory, "
            + "and resumes them. Exit code 0: all is well; 1: something is not; 78: there is no such device.\n\nExamples:\n  coclr check\n "
                + " coclr check --device cpu --quick") { device, quick, only, json };
        command.SetAction(async (parsed, _) =>
        {
            using var signals = new StopSignals();
            long begun = Stopwatch.GetTimestamp();
            TorchSharp.torch.Device chosen = TorchRuntime.Select(parsed.GetValue(device)!);
            bool small = parsed.GetValue(quick);
            string part = parsed.GetValue(only) ?? "";
            bool asJson = parsed.GetValue(json);
            TorchDescription library = TorchRuntime.Describe();
            string name = DeviceMemory.Card(chosen) ?? $"{chosen.type.ToString().ToLowerInvariant()}, {library.Threads} threads";
            var rows = new List<CheckRow>();
            if (!asJson)
            {
                Console.WriteLine($"{name}, libtorch {library.LibraryVersion}, compared with this machine's processor");
            }

            var check = new DeviceCheck(chosen, small) { Only = n => n.Contains(part, StringComparison.OrdinalIgnoreCase) };
            foreach (CheckRow row in check.Run(signals.Token))
            {
                Tell(row);
            }

            using (var stages = new StageChecks(chosen, small, part, signals.Token))
            {
                await foreach (CheckRow row in stages.RunAsync().ConfigureAwait(false))
                {
                    Tell(row);
                }
            }

            if (rows.Count == 0)
            {
                throw new UserErrorException($"--only {part}: no check has this in its name.", ExitCodes.Usage);
            }

            int failed = rows.Count(r => !r.Passed);
            double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
            if (asJson)
            {
                Say.Json(new { Device = name, Library = library.LibraryVersion, Passed = failed == 0, Seconds = seconds, Checks = rows });
            }
            else
            {
                string time = seconds.ToString("0", CultureInfo.InvariantCulture);
                Console.WriteLine(
                    failed == 0 ? $"all {rows.Count} checks passed in {time} s" : $"{failed} of {rows.Count} checks FAILED ({time} s)");
            }

            return failed == 0 ? ExitCodes.Done : ExitCodes.Failed;

            void Tell(CheckRow row)
            {
                rows.Add(row);
                if (!asJson)
                {
                    Console.WriteLine(Line(row));
                }
            }
        });
        return command;
    }

    private static string Line(CheckRow row) => string.Create(
        CultureInfo.InvariantCulture,
        $"{(row.Passed ? "ok  " : "FAIL")} {row.Name,-62} {row.Precision?.ToString().ToLowerInvariant() ?? "",-4} {row.Difference,10:G3} "
            + $"of {row.Tolerance,-7:G3} {row.Seconds,6:0.0} s{(row.Note == null ? "" : $"  {row.Note}")}");
}
