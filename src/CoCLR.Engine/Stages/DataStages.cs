// Why this exists: the stages `decode` and `flow`: from a data set to the two stores that every later stage reads.
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;
using CoCLR.Engine.Context;
using CoCLR.Engine.Flow;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;
using CoCLR.Engine.Video.Synthetic;

namespace CoCLR.Engine.Stages;

/// <summary>Decoding and optical flow.</summary>
internal static class DataStages
{
    /// <summary>Makes the synthetic videos when they are asked for, reads the catalogue and decodes it into the cache.</summary>
    public static StageResult Decode(StageContext context)
    {
        DatasetSpec dataset = context.Spec.Dataset;
        context.Events.Started(context.DeviceName);
        VideoCatalogue catalogue = Catalogue(context);
        foreach (string note in catalogue.Notes)
        {
            context.Events.Log(note);
        }

        var settings = new DecodeSettings
        {
            ShortSide = dataset.StoredSize ?? DecodeSettings.ShortSideFor(context.Spec.Clip.Size),
            FrameRate = dataset.FrameRate,
            MaxBadFraction = Decimals.Parse(dataset.MaxBadFraction),
        };
        using ClipStore store = ClipDecoder.Prepare(
            catalogue,
            settings,
            context.Cache,
            ImmediateProgress.To<DecodeProgress>(p => context.Events.Progress("decode", p.Done, p.Total, "videos")),
            context.Stop);
        string[] warnings = [.. catalogue.Warnings, .. SplitLeaks.Describe(SplitLeaks.Find(store, context.Stop))];
        return Result(context, store, warnings, fingerprint: ProvenanceFacts.Fingerprint(catalogue));
    }

    /// <summary>Optical flow of every decoded video.</summary>
    public static StageResult Flow(StageContext context)
    {
        context.Events.Started(context.DeviceName);
        using ClipStore frames = context.OpenStore("decode");
        FlowProgress? last = null;
        using ClipStore flow = FlowStoreBuilder.Prepare(
            frames,
            FlowOptions.From(context.Spec.Flow, context.Spec.Training.Compatibility == Compatibility.Reference),
            context.Cache,
            context.Device,
            progress: ImmediateProgress.To<FlowProgress>(p =>
            {
                last = p;
                context.Events.Progress("flow", p.Pairs, p.Pairs + p.RemainingPairs, "frames");
            }),
            cancellationToken: context.Stop,
            files: Catalogue(context).Videos.ToDictionary(v => v.Id, v => v.Path),
            tell: text => context.Events.Log(text, "warning"));
        MotionResult? motion = FlowStoreBuilder.Survey(flow);
        if (motion != null)
        {
            context.Events.Log(motion.ToString());
        }

        if (last != null && flow.Count > 0)
        {
            ClipStoreVideo video = flow.Videos[0];
            context.Events.Log(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{last.Pairs} flow fields in {last.Elapsed.TotalSeconds:0} s, {last.PairsPerSecond:0.0} a second, computed on frames "
                        + $"of at most {context.Spec.Flow.Size} lines and stored at {video.Width}x{video.Height}"));
        }

        return Result(context, flow, [], motion);
    }

    private static VideoCatalogue Catalogue(StageContext context)
    {
        DatasetSpec dataset = context.Spec.Dataset;
        return VideoCatalogue.Open(new CatalogueOptions
        {
            Root = SourceFolder(context),
            Layout = dataset.Layout,
            Split = dataset.Split,
            TrainList = dataset.TrainList,
            TestList = dataset.TestList,
        });
    }

    private static string SourceFolder(StageContext context)
    {
        DatasetSource source = context.Spec.Dataset.Source;
        if (source.Synthetic is { } synthetic)
        {
            string key = Convert.ToHexStringLower(SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(synthetic, CoclrJson.Compact)));
            string folder = Path.Combine(context.Cache, $"synthetic-v{SyntheticActions.GeneratorVersion}-{key[..16]}");
            SyntheticActions.Create(
                synthetic,
                folder,
                ImmediateProgress.To<SyntheticProgress>(p => context.Events.Progress("make videos", p.Done, p.Total, "videos")),
                context.Stop);
            return folder;
        }

        if (source.S3 is { } s3)
        {
            return BucketCopy.RunAsync(
                s3,
                context.Cache,
                ImmediateProgress.To<CopyProgress>(p => context.Events.Progress("copy", p.Done, p.Total, "objects")),
                text => context.Events.Log(text, "warning"),
                context.Stop).GetAwaiter().GetResult();
        }

        // In a pod the claim is mounted where COCLR_DATASET_DIR says.
        string? mounted = Environment.GetEnvironmentVariable("COCLR_DATASET_DIR");
        return source.Path
            ?? (mounted is { Length: > 0 } ? mounted : throw new UserErrorException("spec.dataset.source.volumeClaim is mounted by the "
                + "operator, which sets COCLR_DATASET_DIR; on one machine give path or synthetic.", ExitCodes.BadConfiguration));
    }

    private static StageResult Result(
        StageContext context, ClipStore store, string[] warnings, MotionResult? motion = null, string? fingerprint = null)
    {
        var data = new DataResult
        {
            Store = Path.GetRelativePath(context.Cache, store.Folder),
            Fingerprint = fingerprint,
            Videos = store.Count,
            TrainVideos = store.Videos.Count(v => v.Split != VideoSplit.Test),
            TestVideos = store.Videos.Count(v => v.Split == VideoSplit.Test),
            Frames = store.TotalFrames,
            Bytes = store.TotalBytes,
            ClassNames = [.. store.Classes],
            Motion = motion,
            LeftOut = [.. store.Header.Rejected.Select(r => new LeftOutVideo(r.Id, r.Reason))],
            Damaged = [.. store.Videos.Where(v => v.Damage != null).Select(v => new LeftOutVideo(v.Id, v.Damage!))],
            Warnings = warnings,
        };
        foreach (string warning in warnings.Concat(data.Damaged.Select(v => $"kept in part {v.Id}: {v.Reason}")))
        {
            context.Events.Log(warning, "warning");
        }

        foreach (LeftOutVideo video in data.LeftOut)
        {
            context.Events.Log($"left out {video.Id}: {video.Reason}", "warning");
        }

        return context.Result(data);
    }
}
