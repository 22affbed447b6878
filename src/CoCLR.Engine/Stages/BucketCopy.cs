// Why this exists: brings the videos of an S3 bucket onto the run's storage once; the decoder reads files, and a pod that comes back goes
// on where the copy stood.
using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Amazon;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Runs;

namespace CoCLR.Engine.Stages;

/// <summary>How far a copy is.</summary>
/// <param name="Done">Objects that are there.</param>
/// <param name="Total">Objects in all.</param>
internal readonly record struct CopyProgress(long Done, long Total);

/// <summary>Copies a prefix of a bucket.</summary>
internal static class BucketCopy
{
    private const int Connections = 8;
    private const int Attempts = 4;

    /// <summary>
    /// Copies what is not there yet. Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without them the bucket is read
    /// anonymously.
    /// </summary>
    /// <param name="source">The bucket.</param>
    /// <param name="cache">Folder of the stores that several runs share.</param>
    /// <param name="progress">Told after every object.</param>
    /// <param name="warn">Told about objects that are left out.</param>
    /// <param name="stop">Ends it; what has been copied stays.</param>
    /// <returns>The folder with the videos.</returns>
    /// <exception cref="UserErrorException">The bucket refuses (78), is missing or empty (66), or cannot be reached or stored
    /// (1).</exception>
    public static async Task<string> RunAsync(
        S3Source source, string cache, IProgress<CopyProgress> progress, Action<string> warn, CancellationToken stop)
    {
        string key = Convert.ToHexStringLower(
            SHA256.HashData(
                JsonSerializer.SerializeToUtf8Bytes(
                    new[] { source.Endpoint ?? "", source.Region, source.Bucket, source.Prefix }, CoclrJson.Compact)));
        string folder = Path.Combine(cache, $"s3-{key[..16]}");
        Directory.CreateDirectory(folder);
        try
        {
            using AmazonS3Client client = Client(source);
            List<(S3Object Object, string File)> files = await ListAsync(client, source, folder, warn, stop).ConfigureAwait(false);
            var missing = files.Where(f => !IsThere(f.Object, f.File)).ToList();
            RequireRoom(source, folder, missing.Sum(f => f.Object.Size ?? 0));
            long done = files.Count - missing.Count;
            progress.Report(new CopyProgress(done, files.Count));
            var gate = new Lock();
            await Parallel.ForEachAsync(missing, new ParallelOptions { MaxDegreeOfParallelism = Connections, CancellationToken = stop }, async (file, cancel) =>
            {
                await FetchAsync(client, source, file.Object, file.File, cancel).ConfigureAwait(false);
                lock (gate)
                {
                    progress.Report(new CopyProgress(++done, files.Count));
                }
            }).ConfigureAwait(false);
            return folder;
        }
        catch (AmazonS3Exception error)
        {
            throw Explain(source, error);
        }
        catch (Exception error) when (
            error is BrokenBodyException or AmazonClientException or HttpRequestException
                || (error is OperationCanceledException && !stop.IsCancellationRequested))
        {
            throw Unreachable(source, error);
        }
    }

    private static AmazonS3Client Client(S3Source source)
    {
        var config = new AmazonS3Config { MaxErrorRetry = 4, AuthenticationRegion = source.Region };
        if (source.Endpoint is { } endpoint)
        {
            config.ServiceURL = endpoint;
            config.ForcePathStyle = true;
        }
        else
        {
            config.RegionEndpoint = RegionEndpoint.GetBySystemName(source.Region);
        }

        string? id =
            Environment.GetEnvironmentVariable("AWS_ACCESS_KEY_ID"), secret = Environment.GetEnvironmentVariable("AWS_SECRET_ACCESS_KEY");
        AWSCredentials keys = id is { Length: > 0 }
            && secret is { Length: > 0 } ? new BasicAWSCredentials(id, secret) : new AnonymousAWSCredentials();
        return new AmazonS3Client(keys, config);
    }

    private static async Task<List<(S3Object Object, string File)>> ListAsync(
        AmazonS3Client client, S3Source source, string folder, Action<string> warn, CancellationToken stop)
    {
        string prefix = source.Prefix.Length == 0 || source.Prefix.EndsWith('/') ? source.Prefix : source.Prefix + "/";
        var files = new List<(S3Object, string)>();
        var request = new ListObjectsV2Request { BucketName = source.Bucket, Prefix = prefix };
        ListObjectsV2Response page;
        do
        {
            page = await client.ListObjectsV2Async(request, stop).ConfigureAwait(false);
            foreach (S3Object item in (page.S3Objects ?? []).Where(o => !o.Key.EndsWith('/')))
            {
                if (FileOf(folder, item.Key[prefix.Length..]) is { } file)
                {
                    files.Add((item, file));
                }
                else
                {
                    warn($"left out s3://{source.Bucket}/{MessageKey(item.Key)}: its key is no relative path");
                }
            }

            request.ContinuationToken = page.NextContinuationToken;
        }
        while (page.IsTruncated == true);

        return files.Count > 0
            ? files
            : throw new UserErrorException(
                $"{Name(source)} holds no objects: check dataset.source.s3.bucket and prefix.", ExitCodes.MissingInput);
    }

    // Keys are written by others: none may leave the folder.
    private static string? FileOf(string folder, string key)
    {
        string[] parts = key.Split('/');
        return parts.Any(p => p is "" or "." or ".." || p.Length > 255 || p.Any(c => char.IsControl(c) || c is '\\' or ':'))
            ? null
            : Path.Combine([folder, .. parts]);
    }

    private static string MessageKey(string key) => new([.. key.Take(200).Select(c => char.IsControl(c) ? '?' : c)]);

    private static bool IsThere(S3Object item, string file)
    {
        var info = new FileInfo(file);
        return info.Exists && info.Length == item.Size && info.LastWriteTimeUtc >= item.LastModified?.ToUniversalTime();
    }

    private static void RequireRoom(S3Source source, string folder, long bytes)
    {
        long free = new DriveInfo(folder).AvailableFreeSpace;
        if (free < bytes)
        {
            throw new UserErrorException($"{Name(source)} has {bytes >> 20} MiB still to copy and the storage has {free >> 20} MiB left: "
                + $"give storage.size more, or another claim.", ExitCodes.BadConfiguration);
        }
    }

    // The client tries requests again by itself, but not bodies that break off or that do not have the hash they should.
    private static async Task FetchAsync(AmazonS3Client client, S3Source source, S3Object item, string file, CancellationToken cancel)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                using GetObjectResponse answer = await client.GetObjectAsync(
                    new GetObjectRequest { BucketName = source.Bucket, Key = item.Key, EtagToMatch = item.ETag }, cancel)
                    .ConfigureAwait(false);
                await WholeFile.WriteAsync(file, target => CopyBodyAsync(answer.ResponseStream, target, cancel)).ConfigureAwait(false);
                return;
            }
            catch (Exception error) when (attempt < Attempts && (error is BrokenBodyException or AmazonClientException))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(200 << attempt), cancel).ConfigureAwait(false);
            }
        }
    }

    // A connection breaks off with the same exception types as a disk that fails: only here are the two told apart.
    private static async Task CopyBodyAsync(Stream body, Stream target, CancellationToken cancel)
    {
        byte[] buffer = new byte[1 << 16];
        while (true)
        {
            int read;
            try
            {
                read = await body.ReadAsync(buffer, cancel).ConfigureAwait(false);
            }
            catch (IOException broken)
            {
                throw new BrokenBodyException(broken);
            }

            if (read == 0)
            {
                return;
            }

            await target.WriteAsync(buffer.AsMemory(0, read), cancel).ConfigureAwait(false);
        }
    }

    private static UserErrorException Unreachable(S3Source source, Exception error) =>
        new(
            $"{Name(source)} cannot be reached: {error.Message} Check dataset.source.s3.endpoint and the network policy.",
            ExitCodes.Failed,
            error);

    private static UserErrorException Explain(S3Source source, AmazonS3Exception error)
    {
        string said = $"{error.ErrorCode}: {error.Message}".TrimEnd('.');
        return error.StatusCode switch
        {
            HttpStatusCode.Forbidden or HttpStatusCode.Unauthorized =>
                new UserErrorException($"{Name(source)} refuses access ({said}). Check the keys in the Secret of "
                    + $"dataset.source.s3.secretName and what they may read.", ExitCodes.BadConfiguration, error),
            HttpStatusCode.NotFound =>
                new UserErrorException($"{Name(source)} does not exist ({said}). Check dataset.source.s3.", ExitCodes.MissingInput, error),
            HttpStatusCode.BadRequest or HttpStatusCode.MovedPermanently => new UserErrorException(
                $"{Name(source)} does not take the request ({said}). Check dataset.source.s3.region and endpoint.",
                ExitCodes.BadConfiguration,
                error),
            _ => new UserErrorException($"{Name(source)} does not answer as it should ({said}).", ExitCodes.Failed, error),
        };
    }

    private static string Name(S3Source source) =>
        $"s3://{source.Bucket}/{source.Prefix}{(source.Endpoint == null ? "" : $" at {source.Endpoint}")}";

    /// <summary>An object's content ended before its length.</summary>
    private sealed class BrokenBodyException(IOException inner) : Exception(inner.Message, inner);
}
