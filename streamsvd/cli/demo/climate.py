"""Two and a half centuries of air temperature, as principal components (EOFs) with certified variances."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import iris_sample_data
import numpy as np

from streamsvd.engine.opening import open as open_matrix
from streamsvd.factor.pca import pca
from streamsvd.factor.result import PCA
from streamsvd.report.figures import factorisations
from streamsvd.testing.writing import write_grid
from streamsvd.typing import Real

RANK, N_MAPS, TOL = 10, 4, 1e-6
NAME = "air_temperature"
TITLE = "Annual mean air temperature over North America"


@dataclass(frozen=True, slots=True, eq=False)
class Climate:
    """Yearly fields ``(year, lat, lon)`` in kelvin, and their grid in degrees."""

    values: Any
    years: Real
    latitude: Real
    longitude: Real
    origin: str

    @property
    def period(self) -> str:
        """First and last year."""
        return f"{self.years[0]:.0f} to {self.years[-1]:.0f}"


def load() -> Climate:
    """Scenario E1 of the Met Office Unified Model, as shipped in the wheel of iris-sample-data."""
    with h5py.File(Path(iris_sample_data.path) / "E1_north_america.nc") as file:
        hours = np.asarray(file["time"])  # since 1970 in years of 360 days
        return Climate(
            values=np.asarray(file[NAME]),
            years=1970 + np.floor(hours / (24 * 360)),
            latitude=np.asarray(file["latitude"], dtype=np.float64),
            longitude=np.asarray(file["longitude"], dtype=np.float64),
            origin=f"{file[NAME].attrs['source'].decode()}, scenario {file[NAME].attrs['Model scenario'].decode()}",
        )


def store(climate: Climate, folder: Path) -> tuple[Path, Path]:
    """The fields as zarr, and one weight for each cell: the root of its share of the sphere."""
    path, weights = folder / f"{NAME}.zarr", folder / "area_weights.npy"
    shutil.rmtree(path, ignore_errors=True)
    dims = ("time", "latitude", "longitude")
    attributes = {"units": "K", "source": climate.origin, "licence": "Open Government Licence"}
    middles = (climate.years.astype(np.int64) - 1970).astype("M8[Y]").astype("M8[M]") + 6
    coordinates = {
        "time": (
            middles.astype("M8[D]").astype(np.int64),
            {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"},
        ),
        "latitude": (climate.latitude, {"units": "degrees_north"}),
        "longitude": (climate.longitude, {"units": "degrees_east"}),
    }
    write_grid(path, NAME, climate.values, dims, attributes, chunk=24, coordinates=coordinates)
    area = np.cos(np.deg2rad(climate.latitude))
    np.save(weights, np.repeat(np.sqrt(area), climate.longitude.size))
    return path, weights


def factorise(path: Path, weights: Path, out: Path, *, memory: str) -> PCA:
    """Principal components of the years, every cell weighted by its area."""
    A = open_matrix(path, variable=NAME, rows="time")
    return pca(
        A,
        RANK,
        tol=TOL,
        memory=memory,
        column_weights=np.load(weights),
        u=True,
        out=out,
        overwrite=True,
    )


def draw(climate: Climate, weights: Path, result: PCA, folder: Path) -> list[Path]:
    """Maps of the leading components, their course in time, and the scree with its intervals."""
    freedom = result.info.freedom
    grid = (climate.latitude.size, climate.longitude.size)
    share = result.explained_variance_ratio
    names = [f"EOF {i + 1}: {share[i]:.1%} of the variance" for i in range(N_MAPS)]
    # weights are taken out again, so that a map is in kelvin for one standard deviation of its component
    patterns = result.Vh[:N_MAPS] / np.load(weights) * result.s[:N_MAPS, None] / np.sqrt(freedom)
    maps = [
        factorisations.Map(name, climate.latitude, climate.longitude, pattern.reshape(grid))
        for name, pattern in zip(names, patterns, strict=True)
    ]
    c = result.certificate
    energy = c.energy
    return [
        factorisations.maps(
            folder / "eofs.png",
            maps,
            title=f"{TITLE}, {climate.period} (scenario E1)",
            units="K per standard deviation",
        ),
        factorisations.series(
            folder / "components.png",
            climate.years,
            np.asarray(result.U[:, :N_MAPS]) * np.sqrt(freedom),
            title=f"{TITLE}: the components in time",
            labels=names,
            xlabel="year",
            ylabel="standard deviations",
        ),
        factorisations.scree(
            folder / "variance.png",
            share,
            c.sigma_lower**2 / energy,
            c.sigma_upper**2 / energy,
            title=f"{TITLE}: certified variances",
            tol=2 * TOL,  # a variance is a square
        ),
    ]
