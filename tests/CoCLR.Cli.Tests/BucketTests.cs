// Why this exists: a data set in a bucket is copied by the decode stage, signed, page by page, once, and no key of it leaves the folder.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Testing;

namespace CoCLR.Cli.Tests;

public sealed class BucketTests(TinyExperiment tiny) : IClassFixture<TinyExperiment>
{
    [Fact]
    public async Task Bucket_WithVideos_IsCopiedOnceAndDecoded()
    {
        await using FakeS3 s3 = await FakeS3.StartAsync();
        string[] videos = Fill(s3, "sets/a b+\u00fc/");
        s3.Put("sets/a b+\u00fc/../../escaped.mp4", [1, 2, 3]);
        s3.Put("sets/a b+\u00fc-other/Horizontal/x.mp4", [1, 2, 3]);
        s3.BreakBodies(2);
        (string plan, string run) = Plan(s3, "bucket", "sets/a b+\u00fc");
        (await RunAsync(plan, FakeS3.Secret)).Expect(ExitCodes.Done);
        var result = (DataResult)ResultJson.Read<StageResult>(
            await File.ReadAllTextAsync(Path.Combine(run, "stages", "decode", "result.json"), TestContext.Current.CancellationToken),
            "decode").Outcome;
        Assert.Equal(videos.Length, result.Videos);
        Assert.Equal(videos.Length, s3.Log.Where(l => l.StartsWith("GET sets", StringComparison.Ordinal)).Distinct().Count());
        Assert.True(s3.Log.Count(l => l == "GET list 200") > 1);
        Assert.Empty(Directory.GetFiles(tiny.Folder, "escaped.mp4", SearchOption.AllDirectories));
        Assert.Contains(
            "is no relative path",
            await File.ReadAllTextAsync(Path.Combine(run, "stages", "decode", "events.jsonl"), TestContext.Current.CancellationToken),
            StringComparison.Ordinal);

        // Another run on the same storage copies only what has changed.
        s3.ClearLog();
        string changed = s3Key(videos[0], "sets/a b+\u00fc/");
        s3.Put(changed, await File.ReadAllBytesAsync(videos[^1], TestContext.Current.CancellationToken));
        (string again, _) = Plan(s3, "bucket-again", "sets/a b+\u00fc");
        (await RunAsync(again, FakeS3.Secret)).Expect(ExitCodes.Done);
        Assert.Equal(
            new FileInfo(videos[0]).Length == new FileInfo(videos[^1]).Length ? [] : [$"GET {changed} 200"],
            s3.Log.Where(l => !l.Contains("list", StringComparison.Ordinal)));

        static string s3Key(string file, string prefix) =>
            prefix + Path.GetFileName(Path.GetDirectoryName(file)) + "/" + Path.GetFileName(file);
    }

    [Theory]
    [InlineData("wrong", "", "videos", ExitCodes.BadConfiguration, "SignatureDoesNotMatch")]
    [InlineData(null, "", "videos", ExitCodes.BadConfiguration, "AccessDenied")]
    [InlineData(FakeS3.Secret, "nothing-here", "videos", ExitCodes.MissingInput, "holds no objects")]
    [InlineData(FakeS3.Secret, "", "other-bucket", ExitCodes.MissingInput, "NoSuchBucket")]
    public async Task Bucket_ThatRefuses_IsExplained(string? secret, string prefix, string bucket, int exitCode, string words)
    {
        await using FakeS3 s3 = await FakeS3.StartAsync();
        s3.Put("a/b.mp4", [1]);
        (string plan, _) = Plan(s3, $"refused-{Guid.NewGuid():N}"[..20], prefix, bucket);
        Finished finished = (await RunAsync(plan, secret)).Expect(exitCode);
        Assert.Contains(words, finished.Errors, StringComparison.Ordinal);
        Assert.Contains("s3://" + bucket, finished.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain(FakeS3.Secret, finished.Errors, StringComparison.Ordinal);
    }

    private string[] Fill(FakeS3 s3, string prefix)
    {
        string root = Directory.GetDirectories(tiny.Cache, "synthetic-*").Single();
        string[] videos = [.. Directory.GetFiles(root, "*.mp4", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        foreach (string file in videos)
        {
            s3.Put(prefix + Path.GetRelativePath(root, file).Replace('\\', '/'), File.ReadAllBytes(file));
        }

        return videos;
    }

    private (string Plan, string Run) Plan(FakeS3 s3, string name, string prefix, string bucket = FakeS3.Bucket)
    {
        (string plan, string run) =
            tiny.NewRun(name, spec => spec with { Dataset = spec.Dataset with { Source = new DatasetSource { S3 = new S3Source { Bucket = bucket, Prefix = prefix, Endpoint = s3.Endpoint, Region = FakeS3.Region } } } });
        File.Delete(Path.Combine(run, "stages", "decode", "result.json"));
        return (plan, run);
    }

    private Task<Finished> RunAsync(string plan, string? secret) => Coclr.EndAsync(Coclr.StartWith(
        secret == null ? [] : new Dictionary<string, string> { ["AWS_ACCESS_KEY_ID"] = FakeS3.KeyId, ["AWS_SECRET_ACCESS_KEY"] = secret },
        "stage", "--plan", plan, "--stage", "decode", "--cache", tiny.Cache));
}
