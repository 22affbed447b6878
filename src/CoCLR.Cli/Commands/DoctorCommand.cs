// Why this exists: `coclr doctor`: what this machine has, what is missing, how to fix it.
using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using CoCLR.Cli.Terminal;
using CoCLR.Core;
using CoCLR.Engine;
using CoCLR.Engine.Collectives;

namespace CoCLR.Cli.Commands;

internal static class DoctorCommand
{
    private const string SymbolVersion = "GLIBCXX_3.4.32";
    private static readonly string[] LibraryFolders =
        ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib"];

    public static Command Create()
    {
        Option<bool> json = Options.Json();
        var command =
            new Command("doctor", "Says what this machine has and how to fix what is missing.\n\nExample:\n  coclr doctor") { json };
        command.SetAction(parsed =>
        {
            (Finding torch, int gpus) = Torch();
            Finding[] findings =
            [
                System(), Runtime(), CppRuntime(), torch, Gpus(gpus), Nccl(gpus),
                Tool("ffmpeg", "decodes and encodes videos", "apt-get install ffmpeg", required: true),
                Tool("ffprobe", "reads what a video holds", "apt-get install ffmpeg", required: true),
                Tool("kubectl", "talks to a cluster", "see https://kubernetes.io/docs/tasks/tools", required: false, "version", "--client"),
                Tool("helm", "installs the chart", "see https://helm.sh", required: false, "version", "--short"), Disk()
            ];
            if (parsed.GetValue(json))
            {
                Say.Json(findings);
            }
            else
            {
                foreach (Finding finding in findings)
                {
                    Console.WriteLine($"{(finding.Fine ? "ok  " : finding.Required ? "FIX " : "-   ")} {finding.Subject,-14} "
                        + $"{finding.What}{(finding.Fix == null ? "" : $"\n     {"",-14} fix: {finding.Fix}")}");
                }
            }

            return findings.Any(f => !f.Fine && f.Required) ? ExitCodes.BadConfiguration : ExitCodes.Done;
        });
        return command;
    }

    private static Finding System() =>
        new("system", $"{RuntimeInformation.OSDescription}, {RuntimeInformation.OSArchitecture}, {Environment.ProcessorCount} processors, "
            + $"{GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / (1 << 20)} MiB memory", Fine: true);

    private static Finding Runtime() => new("runtime", RuntimeInformation.FrameworkDescription, Fine: true);

    /// <summary>Which of the two cases of docs/native-library.md holds.</summary>
    private static Finding CppRuntime()
    {
        string? library = LibraryFolders.Select(f => Path.Combine(f, "libstdc++.so.6")).FirstOrDefault(File.Exists);
        if (library == null)
        {
            return new Finding(
                "C++ runtime",
                "libstdc++.so.6 was not found where Linux keeps it",
                Fine: !OperatingSystem.IsLinux(),
                Required: OperatingSystem.IsLinux(),
                Fix: "apt-get install libstdc++6");
        }

        bool has = File.ReadAllBytes(library).AsSpan().IndexOf(Encoding.ASCII.GetBytes(SymbolVersion)) >= 0;
        return new Finding(
            "C++ runtime",
            has
                ? $"{library} has {SymbolVersion}; TorchSharp's library is used as packaged"
                : $"{library} lacks {SymbolVersion}; the build marked that need weak in its own copy of TorchSharp's library "
                    + $"(docs/native-library.md)",
            Fine: true);
    }

    private static (Finding Finding, int CudaDevices) Torch()
    {
        try
        {
            TorchDescription torch = TorchRuntime.Describe();
            return (
                new Finding("libtorch", $"{torch.LibraryVersion}{(torch.Foreign ? " of COCLR_LIBTORCH" : "")} in {torch.LibraryDirectory}, "
                    + $"{torch.Threads} threads, OpenMP waits {torch.WaitPolicy}, {torch.VectorBits}-bit vectors", Fine: true),
                torch.CudaDevices);
        }
        catch (Exception e) when (e is UserErrorException or NotSupportedException or TypeInitializationException or DllNotFoundException)
        {
            // the message names its own
            string? fix = e is UserErrorException
                ? null
                : "build again on this machine (rm -rf .coclr artifacts, then ./coclr doctor), or see docs/native-library.md";
            return (
                new Finding(
                    "libtorch", $"does not load: {(e.InnerException ?? e).Message.Split('\n')[0]}", Fine: false, Required: true, fix),
                0);
        }
    }

    private static Finding Gpus(int seen)
    {
        (bool found, string output) = Output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader");
        return !found ? new Finding("GPU", "none (nvidia-smi is not there); training runs on the CPU", Fine: true)
            : seen > 0
            ? new Finding(
                "GPU",
                string.Join("; ", output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
                    + "; coclr check says in minutes whether it computes what the processor computes",
                Fine: true)
            : new Finding(
                "GPU",
                $"{output.Split('\n')[0]}, but libtorch does not use it",
                Fine: false,
                Fix: "build with -p:TorchBackend=cuda, or set COCLR_LIBTORCH to the lib folder of an installed CUDA PyTorch 2.10 or 2.11");
    }

    /// <summary>Needed only where several GPUs train together.</summary>
    private static Finding Nccl(int gpus)
    {
        if (gpus < 2)
        {
            return new Finding("NCCL", "not needed: it moves tensors between several GPUs", Fine: true);
        }

        (bool found, string text) = Ranks.DescribeNccl();
        return new Finding("NCCL", text, found, Fix: found ? null : "install it for ranks on several GPUs (docs/scale.md)");
    }

    private static Finding Tool(string name, string use, string fix, bool required, params string[] arguments)
    {
        (bool found, string output) = Output(
            Environment.GetEnvironmentVariable($"COCLR_{name.ToUpperInvariant()}") is { Length: > 0 } path ? path : name,
            arguments.Length > 0 ? arguments : ["-version"]);
        return found
            ? new Finding(name, output.Split('\n')[0].Trim(), Fine: true)
            : new Finding(name, $"not found: it {use}", Fine: false, required, fix);
    }

    private static Finding Disk()
    {
        var drive = new DriveInfo(Directory.GetCurrentDirectory());
        return new Finding(
            "disk",
            $"{drive.AvailableFreeSpace >> 30} GiB free here",
            Fine: drive.AvailableFreeSpace > 2L << 30,
            Fix: drive.AvailableFreeSpace > 2L << 30 ? null : "free some space, or choose another --workdir");
    }

    private static (bool Found, string Output) Output(string command, params string[] arguments)
    {
        try
        {
            using Process process =
                Process.Start(new ProcessStartInfo(command, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            errors.GetAwaiter().GetResult();
            process.WaitForExit();
            return (process.ExitCode == 0, output);
        }
        catch (Win32Exception)
        {
            return (false, "");
        }
    }

    private sealed record Finding(string Subject, string What, bool Fine, bool Required = false, string? Fix = null);
}
