// Why this exists: `coclr up --cluster` as a person uses it: one command, then kubectl, and a stage really runs.
using System.Diagnostics;
using CoCLR.Operator.Tests;

namespace CoCLR.EndToEnd.Tests.Cluster;

public class TrialClusterTests
{
    [Fact]
    public async Task Up_WithACluster_TakesAnExperimentAndRunsItsStages()
    {
        string folder = Directory.CreateTempSubdirectory("coclr-up-").FullName;
        var start = new ProcessStartInfo(
            Training.Coclr,
            ["up", "--cluster", "--api-port", "0", "--workdir", folder])
        { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["COCLR_ROOT"] = Repository.Root;
        start.Environment["OMP_NUM_THREADS"] = "1";
        using Process up = Process.Start(start)!;
        try
        {
            var log = new System.Text.StringBuilder();
            up.ErrorDataReceived += (_, line) => log.AppendLine(line.Data);
            up.BeginErrorReadLine();
            string? first = await up.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken);
            Assert.True(first?.StartsWith("export KUBECONFIG=", StringComparison.Ordinal) == true, $"{first}\n{log}");
            string kubeconfig = first!["export KUBECONFIG=".Length..];
            await Training.KubectlAsync(kubeconfig, "apply", "-f", Path.Combine(Repository.Root, "samples", "synthetic-smoke.yaml"));
            await Training.KubectlAsync(
                kubeconfig, "wait", "cexp/synthetic-smoke", "--for=jsonpath={.status.stages[0].state}=Succeeded", "--timeout=240s");
            Assert.Equal(0, await SignalAsync(up, "TERM"));
        }
        finally
        {
            if (!up.HasExited)
            {
                up.Kill(entireProcessTree: true);
                await up.WaitForExitAsync(CancellationToken.None);
            }

            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<int> SignalAsync(Process process, string signal)
    {
        using Process kill = Process.Start("kill", [$"-{signal}", process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        await process.WaitForExitAsync(limit.Token);
        return process.ExitCode;
    }
}
