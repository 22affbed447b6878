// Why this exists: `coclr apply`, `get` and `watch`: the same words to a dashboard (--dashboard URL) and to a cluster (the current kubectl
// context).
using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Threading.Channels;
using CoCLR.Cli.Hosting;
using CoCLR.Cli.Terminal;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Runs;
using Microsoft.Extensions.Logging.Abstractions;
using Spectre.Console;
using k8s;

namespace CoCLR.Cli.Commands;

internal static class RemoteCommands
{
    private const string FieldManager = "coclr";

    public static Command CreateApply()
    {
        Option<string> file = Options.Manifest();
        Option<string?> dashboard = Options.Dashboard();
        Option<string?> space = Namespace();
        var command = new Command(
            "apply",
            "Sends a manifest to a cluster, or starts it at a dashboard.\n\nExample:\n  coclr apply -f samples/minimal.yaml --namespace "
                + "research\n  coclr apply -f samples/minimal.yaml --dashboard http://127.0.0.1:5080") { file, dashboard, space };
        command.SetAction(async (parsed, stop) =>
        {
            LoadedManifest loaded = ManifestReader.Load(parsed.GetValue(file)!);
            if (Options.Address(parsed.GetValue(dashboard)) is { } address)
            {
                if (loaded.Suite != null)
                {
                    throw new UserErrorException(
                        $"{loaded.File}: a dashboard on one machine starts experiments; a CoCLRBenchmark needs a cluster.",
                        ExitCodes.BadConfiguration);
                }

                using var client = new DashboardClient(address, null);
                await client.StartAsync(loaded.Text, stop).ConfigureAwait(false);
                Say.Note($"{loaded.Name}: started at {address}");
                return ExitCodes.Done;
            }

            await InClusterAsync(parsed.GetValue(space), async (cluster, ns) =>
            {
                ResourceKind kind = loaded.Suite == null ? ResourceKind.Experiment : ResourceKind.Benchmark;
                byte[] body = JsonSerializer.SerializeToUtf8Bytes(ManifestReader.ToJson(loaded.Text));
                string path = $"{kind.Path(new ObjectKey(ns, loaded.Name))}?fieldManager={FieldManager}&force=false";
                (await cluster.SendAsync(HttpMethod.Patch, path, body, "application/apply-patch+yaml", stop).ConfigureAwait(false))
                    .Dispose();
                Say.Note($"{loaded.Name}: applied in namespace {ns}");
            }).ConfigureAwait(false);
            return ExitCodes.Done;
        });
        return command;
    }

    public static Command CreateGet()
    {
        var name = new Argument<string?>("name") { Description = "One experiment.", Arity = ArgumentArity.ZeroOrOne, HelpName = "NAME" };
        Option<string?> dashboard = Options.Dashboard();
        Option<string?> space = Namespace();
        Option<bool> json = Options.Json();
        var command = new Command("get", "Lists experiments of a dashboard or a cluster.\n\nExample:\n  coclr get --dashboard "
            + "http://127.0.0.1:5080") { name, dashboard, space, json };
        command.SetAction(async (parsed, stop) =>
        {
            string? wanted = parsed.GetValue(name);
            if (Options.Address(parsed.GetValue(dashboard)) is { } address)
            {
                using var client = new DashboardClient(address, null);
                if (wanted != null)
                {
                    Console.WriteLine(
                        await client.ReadAsync(wanted, stop).ConfigureAwait(false)
                            ?? throw new UserErrorException($"{address} has no run '{wanted}'.", ExitCodes.MissingInput));
                    return ExitCodes.Done;
                }

                Show(await client.ListAsync(stop).ConfigureAwait(false), parsed.GetValue(json));
                return ExitCodes.Done;
            }

            await InClusterAsync(parsed.GetValue(space), async (cluster, ns) =>
            {
                if (wanted != null)
                {
                    using JsonDocument found = await cluster.GetAsync(ResourceKind.Experiment.Path(new ObjectKey(ns, wanted)), stop)
                        .ConfigureAwait(false);
                    Say.Json(found.RootElement);
                    return;
                }

                Show(await ListAsync(cluster, ns, stop).ConfigureAwait(false), parsed.GetValue(json));
            }).ConfigureAwait(false);
            return ExitCodes.Done;
        });
        return command;
    }

    public static Command CreateWatch()
    {
        var name = new Argument<string?>("name")
        {
            Description = "One experiment; ends with it.", Arity = ArgumentArity.ZeroOrOne, HelpName = "NAME"
        };
        Option<string?> dashboard = Options.Dashboard();
        Option<string?> space = Namespace();
        var command = new Command("watch", "Follows experiments of a dashboard or a cluster; a line for every change.\n\nExample:\n  coclr "
            + "watch demo-coclr --dashboard http://127.0.0.1:5080") { name, dashboard, space };
        command.SetAction(async (parsed, _) =>
        {
            using var signals = new StopSignals();
            string? wanted = parsed.GetValue(name);
            try
            {
                if (Options.Address(parsed.GetValue(dashboard)) is { } address)
                {
                    using var client = new DashboardClient(address, null);
                    await foreach (IReadOnlyList<RemoteRun> rows in client.WatchAsync(signals.Token).ConfigureAwait(false))
                    {
                        foreach (RemoteRun run in rows.Where(r => wanted == null || r.Run == wanted || r.Experiment == wanted))
                        {
                            Tell(run);
                            if (wanted != null && Ended(run) is { } code)
                            {
                                return code;
                            }
                        }
                    }

                    return ExitCodes.Done;
                }

                return await WatchClusterAsync(parsed.GetValue(space), wanted, signals.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (signals.Token.IsCancellationRequested)
            {
                return ExitCodes.Terminated;
            }
        });
        return command;
    }

    private static async Task<int> WatchClusterAsync(string? space, string? wanted, CancellationToken stop)
    {
        int code = ExitCodes.Done;
        await InClusterAsync(space, async (cluster, ns) =>
        {
            // What a watch would try again for ever (no rights, no such kind) is said at once.
            _ = await ListAsync(cluster, ns, stop).ConfigureAwait(false);
            var news = Channel.CreateUnbounded<RemoteRun>();
            var informer = new Informer<SeenRun>(cluster, ResourceKind.Experiment, SeenRun.Read, NullLogger.Instance, namespaces: [ns]);
            informer.OnChange(change =>
            {
                if (change.New is { } now && now.Run != change.Old?.Run && (wanted == null || now.Run.Run == wanted))
                {
                    news.Writer.TryWrite(now.Run);
                }
            });
            using var ending = CancellationTokenSource.CreateLinkedTokenSource(stop);
            Task following = informer.RunAsync(ending.Token);
            try
            {
                await foreach (RemoteRun run in news.Reader.ReadAllAsync(stop).ConfigureAwait(false))
                {
                    Tell(run);
                    if (wanted != null && Ended(run) is { } ended)
                    {
                        code = ended;
                        break;
                    }
                }
            }
            finally
            {
                await ending.CancelAsync().ConfigureAwait(false);
                await following.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default)
                    .ConfigureAwait(false);
            }
        }).ConfigureAwait(false);
        return code;
    }

    private static int? Ended(RemoteRun run) => run.State.ToLowerInvariant() switch
    {
        "succeeded" => ExitCodes.Done,
        "failed" => ExitCodes.Failed,
        _ => null,
    };

    private static async Task<RemoteRun[]> ListAsync(ApiClient cluster, string ns, CancellationToken stop)
    {
        using JsonDocument list = await cluster.GetAsync(ResourceKind.Experiment.Path(ns), stop).ConfigureAwait(false);
        return [.. list.RootElement.Items("items").Select(SeenRun.Of)];
    }

    private static async Task InClusterAsync(string? space, Func<ApiClient, string, Task> act)
    {
        KubernetesClientConfiguration configuration;
        try
        {
            configuration = KubernetesClientConfiguration.BuildDefaultConfig();
        }
        catch (Exception e) when (e is k8s.Exceptions.KubeConfigException or IOException)
        {
            throw new UserErrorException(
                $"No cluster is configured: {e.Message} Set KUBECONFIG, or give --dashboard URL.", ExitCodes.BadConfiguration, e);
        }

        using var cluster = new ApiClient(configuration);
        try
        {
            await act(cluster, space ?? configuration.Namespace ?? "default").ConfigureAwait(false);
        }
        catch (ApiException e)
        {
            throw new UserErrorException(
                $"{configuration.Host} answers {(int)e.Code}: {e.ServerMessage}",
                (int)e.Code < 500 ? ExitCodes.BadData : ExitCodes.Failed,
                e);
        }
        catch (Exception e) when (e is HttpRequestException or TimeoutException)
        {
            throw new UserErrorException(
                $"{configuration.Host} cannot be reached: {e.Message}. Fix KUBECONFIG, or give --dashboard URL.", ExitCodes.Failed, e);
        }
    }

    private static void Tell(RemoteRun run) => Console.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"{run.Run} {run.State}{(run.Stage == null ? "" : " " + run.Stage)} {100 * run.Progress:0} "
            + $"%{(run.Loss is { } loss ? $" loss {loss:0.###}" : "")}{(run.BestProbe is { } probe ? $" probe {100 * probe:0.0}" : "")}"));

    private static void Show(IReadOnlyList<RemoteRun> runs, bool json)
    {
        if (json)
        {
            Say.Json(runs);
            return;
        }

        var table = new Table().Border(Say.Interactive ? TableBorder.Rounded : TableBorder.Ascii)
            .AddColumns("run", "state", "stage", "progress", "probe", "R@1");
        foreach (RemoteRun run in runs)
        {
            table.AddRow(
                Markup.Escape(run.Run),
                Markup.Escape(run.State),
                Markup.Escape(run.Stage ?? "-"),
                Percent(run.Progress),
                Percent(run.BestProbe),
                Percent(run.RecallAt1));
        }

        AnsiConsole.Write(table);
    }

    private static string Percent(double? fraction) =>
        fraction is { } f ? (100 * f).ToString("0.0", CultureInfo.InvariantCulture) + " %" : "-";

    private static Option<string?> Namespace() =>
        new("--namespace", "-n") { Description = "Namespace of the cluster; that of the kubectl context when absent.", HelpName = "NAME" };

    /// <summary>Of an experiment in a cluster what a line tells.</summary>
    private sealed record SeenRun(ObjectMeta Meta, RemoteRun Run) : ICachedObject
    {
        public static SeenRun Read(JsonElement item) => new(ObjectMeta.Read(item), Of(item));

        public static RemoteRun Of(JsonElement item)
        {
            string name = item.At("metadata", "name")?.GetString() ?? "";
            long percent = item.At("status", "progress")?.Number("percent") ?? 0;
            return new RemoteRun(
                name,
                name,
                item.Child("status")?.Text("state") ?? "Unknown",
                item.Child("status")?.Text("stage"),
                percent / 100.0,
                null,
                null,
                null,
                null);
        }
    }
}
