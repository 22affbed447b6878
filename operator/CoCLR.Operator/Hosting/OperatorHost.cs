// Why this exists: the operator as a web application: health, readiness, metrics and the progress endpoint around the runtime.
using System.Net;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Runtime;
using OpenTelemetry.Metrics;

namespace CoCLR.Operator.Hosting;

/// <summary>Builds the operator's web application.</summary>
public static class OperatorHost
{
    /// <summary>Builds it; starting it starts the operator.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="create">Makes the runtime; tests give their own clock and timings.</param>
    /// <exception cref="UserErrorException">A setting is wrong (78).</exception>
    public static WebApplication Build(OperatorOptions options, Func<ILoggerFactory, OperatorRuntime>? create = null)
    {
        WebApplicationBuilder builder =
            WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = typeof(OperatorHost).Assembly.GetName().Name });
        builder.Logging.SetMinimumLevel(options.LogLevel).AddFilter("Microsoft", LogLevel.Warning);
        if (options.JsonLogs)
        {
            builder.Logging.AddJsonConsole(o => { o.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'"; o.UseUtcTimestamp = true; });
        }
        else
        {
            builder.Logging.AddSimpleConsole(o => { o.SingleLine = true; o.TimestampFormat = "HH:mm:ss.fff "; o.UseUtcTimestamp = true; });
        }

        // Before the host starts: what is wrong here ends in one sentence and not in the host's log of an exception.
        if (create == null)
        {
            OperatorRuntime.Configuration(options);
        }

        ReleaseSecrets.Check(options);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = StageReport.MaximumBytes;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            kestrel.Limits.MaxConcurrentConnections = 2048;
            IPAddress address = IPAddress.Parse(options.Listen);
            kestrel.Listen(address, options.Port);
            if (options.ProgressPort > 0)
            {
                OperatorRuntime runtime = kestrel.ApplicationServices.GetRequiredService<OperatorRuntime>();
                kestrel.Listen(
                    address,
                    options.ProgressPort,
                    listen => listen.UseHttps(https => https.ServerCertificateSelector = (_, _) => runtime.Secrets.Certificate));
            }
        });
        builder.Services.AddRoutingCore();
        builder.Services.AddOpenTelemetry()
            .WithMetrics(
                metrics => metrics.AddMeter(ClusterMetrics.MeterName, OperatorMetrics.MeterName, OperatorMetrics.MeterName + ".State")
                    .AddPrometheusExporter(o => o.ScopeInfoEnabled = false));
        builder.Services.AddSingleton(
            services => (create ?? (loggers => new OperatorRuntime(options, loggers)))(services.GetRequiredService<ILoggerFactory>()));
        builder.Services.AddHostedService<OperatorService>();
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.FromSeconds(options.DrainSeconds + 10));

        WebApplication app = builder.Build();
        app.MapGet("/healthz", () => Results.Text("ok"));
        app.MapGet(
            "/readyz",
            (OperatorRuntime runtime) => runtime.Problems is { Count: > 0 } problems
                ? Results.Text(string.Join('\n', problems) + "\n", statusCode: 503)
                : Results.Text("ok"));
        app.MapPrometheusScrapingEndpoint("/metrics");
        app.MapPost(
            ProgressEndpoint.Route,
            (HttpContext context, OperatorRuntime runtime, string ns, string name) =>
                runtime.ProgressEndpoint.HandleAsync(context, ns, name));
        return app;
    }

    private sealed class OperatorService(OperatorRuntime runtime) : BackgroundService
    {
        protected override Task ExecuteAsync(CancellationToken stoppingToken) => runtime.RunAsync(stoppingToken);
    }
}
