// Why this exists: a cluster whose pods really train, an operator that pods can reach, and real kubectl.
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using CoCLR.Cluster;
using CoCLR.Operator.Hosting;
using CoCLR.Operator.Tests;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Logging;

namespace CoCLR.EndToEnd.Tests.Cluster;

internal static class Training
{
    /// <summary>The command of this repository.</summary>
    public static string Coclr
    {
        get
        {
            string configuration = AppContext.BaseDirectory.Contains("/Release/", StringComparison.Ordinal) ? "Release" : "Debug";
            string coclr = Path.Combine(Repository.Root, "src", "CoCLR.Cli", "bin", configuration, "net10.0", "coclr");
            Assert.True(File.Exists(coclr), $"{coclr} is missing: build the solution");
            return coclr;
        }
    }

    /// <summary>Image of the stages in a real cluster, whose pods really run; null where COCLR_TEST_KUBECONFIG's pods are only played.</summary>
    public static string? Image => Environment.GetEnvironmentVariable("COCLR_TEST_IMAGE") is { Length: > 0 } image ? image : null;

    /// <summary>Where pods reach the operator of a test.</summary>
    public static string Address => Environment.GetEnvironmentVariable("COCLR_TEST_ADDRESS") is { Length: > 0 } address ? address : "127.0.0.1";

    /// <summary>The in-process cluster, whose stage image is the command line of this repository; or the real one of COCLR_TEST_KUBECONFIG, with its nodes.</summary>
    public static async Task<Arena> StartAsync()
    {
        if (!RealServer.IsWanted)
        {
            return await Arena.StartAsync(new InProcessClusterOptions
            {
                Images = [ImageProgram.For("coclr-engine:*", [Coclr])],
                BookmarkInterval = TimeSpan.FromSeconds(1),
            });
        }

        Assert.SkipWhen(Image == null, "COCLR_TEST_IMAGE names no image: on a real cluster this test needs pods that run");
        Arena arena = await Arena.StartAsync();
        Assert.SkipUnless(arena.HasControllers, "this API server has no controllers: no pod would run");
        return arena;
    }

    public static Task<string> KubectlAsync(Arena arena, params string[] arguments) => KubectlAsync(arena.Kubeconfig, arguments);

    public static async Task<string> KubectlAsync(string kubeconfig, params string[] arguments)
    {
        string program = Environment.GetEnvironmentVariable("COCLR_KUBECTL") ?? Path.Combine(Repository.Root, ".coclr", "tools", "kubectl");
        program = File.Exists(program) ? program : "kubectl";
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["KUBECONFIG"] = kubeconfig;
        try
        {
            using Process process = Process.Start(start)!;
            Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(process.ExitCode == 0, $"kubectl {string.Join(' ', arguments)}: {await errors}");
            return await output;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip("kubectl is not there; `./coclr test` fetches it");
            throw;
        }
    }
}

/// <summary>An operator with its web server, so that pods can push progress to it.</summary>
internal sealed class ReachableOperator : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly OperatorRuntime _runtime;

    private ReachableOperator(WebApplication app, OperatorRuntime runtime, int port)
    {
        _app = app;
        _runtime = runtime;
        Port = port;
    }

    public int Port { get; }

    public OperatorRuntime Runtime => _runtime;

    /// <summary>Starts one.</summary>
    /// <param name="arena">The cluster.</param>
    /// <param name="port">Port that pods know; 0 takes a free one.</param>
    /// <param name="beforeWrite">Called before every write.</param>
    public static async Task<ReachableOperator> StartAsync(Arena arena, int port = 0, Func<string, Task>? beforeWrite = null)
    {
        port = port == 0 ? FreePort() : port;
        var options = new OperatorOptions
        {
            Kubeconfig = arena.Kubeconfig,
            LeaderElect = false,
            Namespaces = arena.Namespace,
            Image = Training.Image ?? $"coclr-engine:{OperatorVersion.Text}",
            Listen = Training.Address,
            Port = port,
            ProgressUrl = $"http://{Training.Address}:{port}",
            DashboardUrl = "https://dashboard.example",
            GracePeriodSeconds = 30,
            JsonLogs = false,
            LogLevel = LogLevel.Warning,
        };
        OperatorRuntime? runtime = null;
        WebApplication app = OperatorHost.Build(options, loggers => runtime = new OperatorRuntime(options, loggers, informers: new InformerOptions { MaximumBackoff = TimeSpan.FromSeconds(1) }, beforeWrite: beforeWrite));
        await app.StartAsync(TestContext.Current.CancellationToken);
        return new ReachableOperator(app, runtime!, port);
    }

    /// <summary>As SIGKILL: nothing is written any more from this moment.</summary>
    public async Task KillAsync()
    {
        _runtime.Abandon();
        await DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
