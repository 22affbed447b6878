// Why this exists: which parts the dashboard has and how the framework's own are set.
using System.Text.Json.Serialization;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Cluster;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Live;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components.Server.Circuits;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.HttpOverrides;
using MudBlazor;
using MudBlazor.Services;

namespace CoCLR.Dashboard;

/// <summary>Parts of the application.</summary>
internal static class DashboardServices
{
    // The largest manifest that is read, pasted into the editor, with what JSON adds.
    private const int MaxPageMessage = 2 << 20;

    /// <summary>Adds all of them but sign-in.</summary>
    public static void Add(IServiceCollection services, DashboardOptions options, string instance)
    {
        AddOwn(services, options);
        AddPages(services);
        AddApi(services, options);
        services.AddAntiforgery(o =>
        {
            o.Cookie.Name = "coclr-antiforgery-" + instance;
            o.Cookie.SameSite = SameSiteMode.Strict;
            o.HeaderName = "X-CSRF-TOKEN";
        });
        services.Configure<ForwardedHeadersOptions>(o =>
        {
            o.ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto;
            foreach (string network in options.TrustedProxies)
            {
                o.KnownIPNetworks.Add(System.Net.IPNetwork.Parse(network));
            }
        });
        string keys = Path.Combine(options.ResolvedDataDir, "keys");
        Directory.CreateDirectory(keys);
        services.AddDataProtection().SetApplicationName("coclr-dashboard").PersistKeysToFileSystem(new DirectoryInfo(keys));
    }

    private static void AddOwn(IServiceCollection services, DashboardOptions options)
    {
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton<LiveFeed>();
        services.AddSingleton<SettingsFile>();
        services.AddSingleton<AuditLog>();
        services.AddSingleton<RunStore>();
        services.AddSingleton<RunFolders>();
        services.AddHostedService(s => s.GetRequiredService<RunFolders>());
        services.AddSingleton<IngestFolders>();
        services.AddSingleton<LocalHost>();
        services.AddSingleton<RunControl>();
        services.AddSingleton<OpenConnections>();
        services.AddHostedService(s => s.GetRequiredService<OpenConnections>());
        if (options.Cluster.Enabled)
        {
            services.AddSingleton<ApiClient>(ClusterConnection.Open).AddSingleton<ClusterWatch>().AddSingleton<ClusterHost>()
                .AddSingleton<TokenReviewer>().AddSingleton<PodTokens>();
            services.AddHostedService(s => s.GetRequiredService<ClusterWatch>());
        }

        services.AddSingleton<WebhookSender>().AddHostedService<Webhooks>();
        services.AddSingleton<QueryVideos>();
        services.AddSingleton<ModelPackages>();
        services.AddSingleton<Suites>();
        services.AddSingleton<RunResults>();
        services.AddSingleton<Previews>();
        services.AddSingleton<CircuitLimit>();
        services.AddSingleton<CircuitHandler>(s => s.GetRequiredService<CircuitLimit>());
        services.AddMemoryCache(o => o.SizeLimit = 512 << 20);
    }

    private static void AddPages(IServiceCollection services)
    {
        services.AddRazorComponents().AddInteractiveServerComponents(o =>
        {
            o.DetailedErrors = false;
            o.DisconnectedCircuitMaxRetained = 200;
            o.DisconnectedCircuitRetentionPeriod = TimeSpan.FromMinutes(5);
            o.MaxBufferedUnacknowledgedRenderBatches = 20;
        }).AddHubOptions(o => o.MaximumReceiveMessageSize = MaxPageMessage);
        services.AddMudServices(o =>
        {
            o.SnackbarConfiguration.PositionClass = Defaults.Classes.Position.BottomRight;
            o.SnackbarConfiguration.ShowTransitionDuration = 120;
            o.SnackbarConfiguration.HideTransitionDuration = 120;
        });
        services.AddHttpContextAccessor();
        services.AddCascadingAuthenticationState();
    }

    private static void AddApi(IServiceCollection services, DashboardOptions options)
    {
        // Of our hub alone: the hub of the pages takes pieces of an upload one after the other, and would lose their order.
        services.AddSignalR().AddHubOptions<RunsHub>(o =>
        {
            o.MaximumReceiveMessageSize = 64 * 1024;
            o.EnableDetailedErrors = false;
            o.MaximumParallelInvocationsPerClient = 8;
        }).AddJsonProtocol(o => o.PayloadSerializerOptions = new System.Text.Json.JsonSerializerOptions(CoclrJson.Compact));
        services.ConfigureHttpJsonOptions(o =>
        {
            o.SerializerOptions.Converters.Add(new JsonStringEnumConverter());
            o.SerializerOptions.NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals;
            o.SerializerOptions.DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull;
        });

        // A body that cannot be read says why.
        services.Configure<RouteHandlerOptions>(o => o.ThrowOnBadRequest = true);
        services.AddEndpointsApiExplorer();
        services.AddOpenApiText();
        services.AddRateLimiter(limiter => RateLimits.Add(limiter, options));
        services.AddProblemDetails();
    }
}
