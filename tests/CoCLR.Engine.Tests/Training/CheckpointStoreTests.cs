// Why this exists: whatever kills the process, and whatever damages a file, a whole checkpoint must remain and be found.
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Tests.Video;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Training;

public sealed class CheckpointStoreTests
{
    private const string FolderVariable = "COCLR_TEST_CHECKPOINT_FOLDER";

    [Fact]
    public void Save_ThenLoad_GivesTheSameStateAndNumbers()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var store = new CheckpointStore(folder.Path);
        var tensors = Sample(7);
        store.Save(
            Info(7) with
            {
                Scalars = new Dictionary<string, double> { ["sum"] = 0.1 + 0.2 },
                Texts = new Dictionary<string,
                string>
                { ["view"] = "RGB" }
            },
            tensors);
        using var loaded = store.LoadNewest();
        Assert.NotNull(loaded);
        Assert.Equal(7, loaded.Info.Step);
        Assert.Equal(0.1 + 0.2, loaded.Info.Scalars["sum"]);
        Assert.Equal("RGB", loaded.Info.Texts["view"]);
        Assert.All(tensors, entry => Assert.True(Close.Same(loaded.Tensors[entry.Key], entry.Value)));
        Assert.Equal(7, CheckpointStore.Describe(folder.Path).Step);
    }

    [Fact]
    public void Save_Description_NamesAWholeFileAndItsSum()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        new CheckpointStore(folder.Path).Save(Info(3), Sample(3));
        CheckPair(folder.Path);
        Assert.Equal(
            File.ReadAllBytes(folder.File("checkpoint-000000003.safetensors")), File.ReadAllBytes(folder.File("checkpoint.safetensors")));
    }

    [Fact]
    public void Save_Many_KeepsTheLastAndTheBest()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var store = new CheckpointStore(folder.Path, keep: 2);
        for (var step = 1; step <= 5; step++)
        {
            store.Save(Info(step), Sample(step), best: step == 2);
        }

        Assert.Equal(
            [
                "checkpoint-000000004.safetensors", "checkpoint-000000005.safetensors", "checkpoint-best.safetensors", "checkpoint.json",
                "checkpoint.safetensors"
            ],
            Directory.GetFiles(folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(2, CheckpointStore.Describe(folder.File("checkpoint-best.safetensors")).Step);
        Assert.Equal(5, CheckpointStore.Describe(folder.Path).Step);
    }

    [Fact]
    public void LoadNewest_DamagedNewest_FallsBackWithAWarning()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var warnings = new List<string>();
        var store = new CheckpointStore(folder.Path, keep: 2, warnings.Add);
        store.Save(Info(1), Sample(1));
        store.Save(Info(2), Sample(2));
        var newest = folder.File("checkpoint-000000002.safetensors");
        var bytes = File.ReadAllBytes(newest);
        bytes[^5] ^= 1;
        File.WriteAllBytes(newest, bytes);
        using var loaded = store.LoadNewest();
        Assert.Equal(1, loaded!.Info.Step);
        Assert.Contains("checkpoint-000000002", Assert.Single(warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void LoadNewest_AllDamaged_SaysHowToMend()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var store = new CheckpointStore(folder.Path);
        store.Save(Info(1), Sample(1));
        foreach (var file in Directory.GetFiles(folder.Path, "*.safetensors"))
        {
            File.WriteAllBytes(file, [1, 2, 3]);
        }

        Assert.Equal(ExitCodes.BadData, Assert.Throws<UserErrorException>(() => store.LoadNewest()).ExitCode);
    }

    [Fact]
    public void LoadNewest_EmptyOrMissingFolder_IsNull()
    {
        using var folder = new TemporaryFolder();
        Assert.Null(new CheckpointStore(folder.Path).LoadNewest());
        Assert.Null(new CheckpointStore(folder.File("missing")).LoadNewest());
    }

    [Fact]
    public void LoadNewest_OnlyThePairWasCopied_Loads()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        new CheckpointStore(folder.File("a")).Save(Info(9), Sample(9));
        Directory.CreateDirectory(folder.File("b"));
        foreach (var name in new[] { CheckpointStore.DataName, CheckpointStore.InfoName })
        {
            File.Copy(Path.Combine(folder.File("a"), name), Path.Combine(folder.File("b"), name));
        }

        using var loaded = new CheckpointStore(folder.File("b")).LoadNewest();
        Assert.Equal(9, loaded!.Info.Step);
    }

    [Fact]
    public void CopyTo_AnotherArchitecture_SaysWhatDiffers()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        using var mini = BackboneFactory.Create("S3DMini");
        using var other = BackboneFactory.Create("S3DMini", width: 0.125);
        using var again = BackboneFactory.Create("S3DMini", seed: 5);
        var store = new CheckpointStore(folder.Path);
        store.Save(Info(1), Engine.Interop.ModuleState.Of(mini, "backbone."));
        using var loaded = CheckpointStore.Load(folder.Path);
        var error = Assert.Throws<UserErrorException>(() => loaded.CopyTo(other, "backbone.", "x"));
        Assert.Equal(ExitCodes.BadConfiguration, error.ExitCode);
        Assert.Contains("Conv_1a.conv1.weight", error.Message, StringComparison.Ordinal);
        loaded.CopyTo(again, "backbone.", "x");
        Assert.All(mini.state_dict().Zip(again.state_dict()), pair => Assert.True(Close.Same(pair.First.Value, pair.Second.Value)));
    }

    [Fact]
    public async Task Save_KilledAtAnyMoment_LeavesAWholeCheckpoint()
    {
        using var folder = new TemporaryFolder();
        long before = 0;
        for (var round = 0; round < 6; round++)
        {
            using var child = Process.Start(new ProcessStartInfo("dotnet", [typeof(CheckpointStoreTests).Assembly.Location, "-explicit", "only", "-method", $"*.{nameof(Writer_EndlessSaves_UntilKilled)}"])
            {
                Environment = { [FolderVariable] = folder.Path },
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            var deadline = Stopwatch.StartNew();
            while (Newest() <= before)
            {
                Assert.False(child.HasExited, "the writer ended by itself");
                Assert.True(deadline.Elapsed < TimeSpan.FromSeconds(60), "the writer never wrote");
                await Task.Delay(5, TestContext.Current.CancellationToken);
            }

            await Task.Delay(7 + (round * 11), TestContext.Current.CancellationToken);
            child.Kill();
            await child.WaitForExitAsync(TestContext.Current.CancellationToken);
            CheckPair(folder.Path);
            using var loaded = new CheckpointStore(folder.Path, warn: message => Assert.Fail(message)).LoadNewest();
            Assert.NotNull(loaded);
            Assert.True(loaded.Info.Step >= before);
            Assert.All(loaded.Tensors.Values, t => Assert.True(t.eq(loaded.Info.Step).all().item<bool>()));
            before = loaded.Info.Step;
        }

        long Newest() => File.Exists(folder.File(CheckpointStore.InfoName))
            ? JsonDocument.Parse(File.ReadAllText(folder.File(CheckpointStore.InfoName))).RootElement.GetProperty("step").GetInt64()
            : 0;
    }

    /// <summary>The process that the kill test kills.</summary>
    [Fact(Explicit = true)]
    public void Writer_EndlessSaves_UntilKilled()
    {
        if (Environment.GetEnvironmentVariable(FolderVariable) is not { } folder)
        {
            Assert.Skip("runs only as the child of the kill test");
            return;
        }

        var store = new CheckpointStore(folder);
        using var last = store.LoadNewest();
        for (var step = (last?.Info.Step ?? 0) + 1; ; step++)
        {
            using var scope = NewDisposeScope();
            store.Save(Info(step), Sample(step));
        }
    }

    private static void CheckPair(string folder)
    {
        using var description = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, CheckpointStore.InfoName)));
        var data = File.ReadAllBytes(Path.Combine(folder, description.RootElement.GetProperty("file").GetString()!));
        Assert.Equal(description.RootElement.GetProperty("sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(data)));
    }

    private static CheckpointInfo Info(long step) =>
        new() { Architecture = "S3DMini", Stage = "pretrain-rgb", Step = step, Epoch = (int)step };

    private static Dictionary<string, Tensor> Sample(long step)
    {
        TorchRuntime.Initialize();
        return new Dictionary<string, Tensor>
        {
            ["a"] = full([300, 300], (float)step), ["b"] = full([2], step, ScalarType.Int64), ["c"] = full([100_000], (float)step)
        };
    }
}
