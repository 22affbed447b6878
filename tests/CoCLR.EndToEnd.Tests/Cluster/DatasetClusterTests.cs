// Why this exists: videos from a claim and from a bucket arrive in a training pod as the spec says, keys from a Secret included.
using System.Text.Json.Nodes;
using CoCLR.Operator.Tests.Harness;
using CoCLR.Testing;

namespace CoCLR.EndToEnd.Tests.Cluster;

public class DatasetClusterTests
{
    [Fact]
    public async Task Videos_FromABucketAndFromAClaim_AreDecodedInThePod()
    {
        await using Arena arena = await Training.StartAsync();
        await using ReachableOperator operatr = await ReachableOperator.StartAsync(arena);
        await using FakeS3 s3 = await FakeS3.StartAsync();

        // The first experiment makes the videos that the others read.
        await arena.ApplyAsync(
            Experiment(arena, "maker", "{synthetic: {classes: 2, trainGroups: 2, testGroups: 1, groupSize: 1, frames: 12, size: 32} }"));
        await DecodedAsync(arena, "maker");
        string videos = Directory.GetDirectories(arena.Cluster.Folder, "synthetic-*", SearchOption.AllDirectories).Single();
        foreach (string file in Directory.GetFiles(videos, "*.mp4", SearchOption.AllDirectories))
        {
            s3.Put("sets/" + Path.GetRelativePath(videos, file), await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken));
        }

        await arena.ApplyAsync(Arena.Parse($"{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: videos, namespace: "
            + $"{arena.Namespace}}}, spec: {{accessModes: [ReadWriteMany], resources: {{requests: {{storage: 1Gi}}}}}}}}"));
        string claim = Path.Combine(arena.Cluster.Kubelet!.ClaimFolder(arena.Namespace, "videos"), "sets");
        foreach (string file in Directory.GetFiles(videos, "*.mp4", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(claim, Path.GetRelativePath(videos, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }

        await arena.ApplyAsync(Experiment(arena, "from-claim", "{volumeClaim: {name: videos, path: sets} }"));
        await arena.ApplyAsync(Experiment(arena, "from-s3", $"{{s3: {{bucket: {FakeS3.Bucket}, prefix: sets, endpoint: \"{s3.Endpoint}\", "
            + $"region: {FakeS3.Region}, secretName: keys}} }}"));
        await DecodedAsync(arena, "from-claim");

        // Without its Secret the pod waits, says so, and goes on by itself.
        await arena.ConditionAsync("from-s3", "Accepted", "False/DependencyNotReady");
        await arena.ApplyAsync(Arena.Parse($"{{apiVersion: v1, kind: Secret, metadata: {{name: keys, namespace: {arena.Namespace}}}, "
            + $"stringData: {{accessKeyId: {FakeS3.KeyId}, secretAccessKey: \"{FakeS3.Secret}\"}}}}"));
        await DecodedAsync(arena, "from-s3");
        Assert.DoesNotContain(s3.Log, l => !l.EndsWith(" 200", StringComparison.Ordinal));
        string[] results = [.. await Task.WhenAll(new[] { "maker", "from-claim", "from-s3" }.Select(n => VideosAsync(arena, n)))];
        Assert.Equal(["6", "6", "6"], results);
    }

    private static JsonObject Experiment(Arena arena, string name, string source) => Arena.Parse($$"""
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata: {name: {{name}}, namespace: {{arena.Namespace}}}
        spec:
          dataset:
            source: {{source}}
            storedSize: 32
          views: [RGB]
          model: {backbone: S3DMini, width: "0.25", projectionSize: 16}
          clip: {frames: 8, size: 32}
          training: {method: InfoNCE, epochs: 1, batchSize: 4, queueSize: 16}
          resources: {gpus: 0, cpu: "1", memory: 1Gi, sharedMemory: 64Mi}
          storage: {size: 1Gi}
        """);

    private static async Task DecodedAsync(Arena arena, string name)
    {
        JsonObject status = [];
        long started = TimeProvider.System.GetTimestamp();
        while ((status = await arena.StatusAsync(name))["stages"]?[0]?["state"]?.ToString() != "Succeeded")
        {
            Assert.True(
                TimeProvider.System.GetElapsedTime(started) < TimeSpan.FromMinutes(4) && status["state"]?.ToString() != "Failed",
                status.ToJsonString());
            await Task.Delay(100, TestContext.Current.CancellationToken);
        }

        // The rest of the training is not what this test is about.
        await arena.SetSpecAsync(name, "suspend", true);
    }

    private static async Task<string> VideosAsync(Arena arena, string name)
    {
        string run = (await arena.StatusAsync(name))["run"]!.ToString();
        string file = Directory.GetFiles(arena.Cluster.Folder, "result.json", SearchOption.AllDirectories)
            .Single(f => f.Contains($"/{run}/stages/decode/", StringComparison.Ordinal));
        return JsonNode.Parse(await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken))!["outcome"]!["videos"]!.ToString();
    }
}
